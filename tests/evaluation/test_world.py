"""The little world: exactly reproducible, answers that the picture confirms, packing that changes nothing."""

import hashlib
from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref.llava.cache import LayerCache
from entropyprune_ref.llava.config import DecoderConfig, LlavaConfig, VisionConfig
from entropyprune_ref.llava.model import Llava
from entropyprune_ref.llava.vision import pixels
from entropyprune_ref.llava.vocabulary import Vocabulary
from entropyprune_ref.world.packing import IGNORED, pack
from entropyprune_ref.world.questions import DEEPER_WORDS, KINDS, NUMBERS, SHIPPED, WORDS, ask, words_of
from entropyprune_ref.world.scenes import COLORS, COLUMNS, GRID, IMAGE_SIZE, PATCH_SIZE, ROWS, draw_scene

streams = st.tuples(st.integers(0, 100), st.integers(0, 10_000))
ALL_KINDS = tuple(kind for kind in KINDS if kind != "next")


def small_llava(dtype: torch.dtype = torch.float64) -> Llava:
    """Random weights, the world's images and words, two decoder layers."""
    torch.manual_seed(1)
    config = LlavaConfig(
        vision=VisionConfig(hidden=16, layers=2, heads=2, mlp=16),
        decoder=DecoderConfig(hidden=24, layers=3, heads=4, kv_heads=4, head_dim=8, mlp=16, vocabulary=len(WORDS)),
        vocabulary=WORDS,
    )
    return Llava(config).to(dtype).eval()


def test_draw_scene_gives_the_same_bytes_on_every_machine() -> None:
    """The digest was recorded once; the drawing uses only exactly rounded operations and NumPy's frozen streams."""
    digest = hashlib.sha256()
    for index in range(20):
        scene = draw_scene(7, index)
        digest.update(scene.image.tobytes())
        digest.update(" ".join(q.text + q.answer for q in ask(scene, 7, index, ALL_KINDS)).encode())
    assert digest.hexdigest() == "cd56301593c42c6320b0a9079b03290c27db599d86a8e6f1fbd7961ae9429441"


@given(streams)
def test_draw_scene_shows_every_thing_in_its_color_and_cell(stream: tuple[int, int]) -> None:
    scene = draw_scene(*stream)
    for thing in scene.things:
        x, y = (int(value) for value in thing.center)
        assert (ROWS[y * 3 // IMAGE_SIZE], COLUMNS[x * 3 // IMAGE_SIZE]) == (ROWS[thing.row], COLUMNS[thing.column])
        seen = scene.image[y, x] / 255
        nearest = min(COLORS, key=lambda name: float(np.abs(np.array(COLORS[name]) * 0.95 - seen).sum()))
        assert nearest == thing.color


@given(streams)
def test_draw_scene_marks_the_patches_that_show_a_thing(stream: tuple[int, int]) -> None:
    """Judged by the picture: saturated pixels stand in marked patches.

    A pixel counts from about a third of its area on, so a patch that is covered to just under the 10 % that mark it may
    hold up to 30 % of such pixels.
    """
    scene = draw_scene(*stream)
    saturation = scene.image.max(axis=-1).astype(int) - scene.image.min(axis=-1).astype(int)
    strong = (saturation > 110).reshape(GRID, PATCH_SIZE, GRID, PATCH_SIZE).mean(axis=(1, 3)).reshape(-1)
    marked = scene.patches_of(scene.things)
    assert (strong[~marked] < 0.30).all()
    for thing in scene.things:
        assert strong[scene.patches_of((thing,))].max() > 0.15
    assert marked.sum() <= 4 * len(scene.things)


def parse(text: str) -> dict[str, str]:
    words = text.split()
    return {
        "shape": next((word for word in words if word in ("circle", "square", "triangle", "cross")), ""),
        "color": next((word for word in words if word in COLORS), ""),
    }


@given(streams)
def test_ask_gives_answers_that_the_scene_confirms(stream: tuple[int, int]) -> None:
    """Answers every question again from its words and the list of things."""
    scene = draw_scene(*stream)
    for question in ask(scene, *stream, ALL_KINDS * 2):
        named = {name: word for name, word in parse(question.text).items() if word}
        found = [thing for thing in scene.things if all(getattr(thing, name) == word for name, word in named.items())]
        if question.kind == "count":
            answer = NUMBERS[len(scene.things) - 1]
        elif question.kind == "exist":
            answer = "yes" if found else "no"
        else:
            (thing,) = found
            place = f"{ROWS[thing.row]} {COLUMNS[thing.column]}"
            answer = {"color": thing.color, "shape": thing.shape, "where": place}[question.kind]
        assert question.answer == answer
        if found:
            assert (question.relevant == scene.patches_of(tuple(found))).all()


def test_ask_balances_yes_and_no() -> None:
    """Binomial with p = 1/2 over 800 draws: four standard deviations are 0.071."""
    answers = Counter(ask(draw_scene(3, index), 3, index, ("exist",))[0].answer for index in range(800))
    assert abs(answers["yes"] / 800 - 0.5) < 0.071


def test_vocabulary_holds_every_word_once() -> None:
    assert len(set(WORDS)) == len(WORDS)
    for index in range(50):
        for question in ask(draw_scene(1, index), 1, index, ALL_KINDS):
            assert Vocabulary(WORDS).decode(Vocabulary(WORDS).encode(question.text)) == question.text


def packed_logits(model: Llava, images: torch.Tensor, questions: list) -> tuple[torch.Tensor, torch.Tensor, int]:
    """All questions behind one cached prefix."""
    vocabulary = Vocabulary(WORDS)
    prefix_ids = torch.tensor(vocabulary.prefix(GRID * GRID)).expand(len(images), -1)
    prefix = prefix_ids.shape[1]
    packed = pack(questions, vocabulary, prefix)
    embed = model.decoder.embed_tokens
    visual = model.projector(model.vision_tower(images))
    layers = range(model.config.decoder.layers)
    cache = [LayerCache() for _ in layers]
    positions = torch.arange(prefix).expand_as(prefix_ids)
    mask = torch.ones(prefix, prefix, dtype=torch.bool).tril()[None, None]
    model.decoder(torch.cat([embed(prefix_ids[:, :2]), visual], dim=1), positions, mask, layers, cache)
    hidden = model.decoder(embed(packed.ids), packed.positions, packed.mask(prefix), layers, cache).hidden
    return model.lm_head(model.decoder.norm(hidden)), packed.targets, packed.slots


def test_pack_gives_the_logits_of_single_questions() -> None:
    """In float64 both are sums of the same terms: 1e-10 is 100 times the rounding seen."""
    model = small_llava()
    scenes = [draw_scene(5, index) for index in range(2)]
    questions = [ask(scene, 5, index, ALL_KINDS) for index, scene in enumerate(scenes)]
    images = pixels(torch.stack([torch.from_numpy(scene.image) for scene in scenes])).double()
    with torch.no_grad():
        logits, targets, slots = packed_logits(model, images, questions)
        for image, row in enumerate(questions):
            for place, question in enumerate(row):
                single = model(images[image : image + 1], [question.text]).logits[0, -1]
                own = slice(place * slots, (place + 1) * slots)
                first = int((targets[image, own] != IGNORED).nonzero()[0])
                torch.testing.assert_close(logits[image, own][first], single, rtol=0, atol=1e-10)


@given(streams)
def test_ask_for_a_neighbour_names_the_next_thing_in_reading_order(stream: tuple[int, int]) -> None:
    """Read again off the picture's list of things: the rows from the top, each from the left."""
    scene = draw_scene(*stream)
    for question in ask(scene, *stream, ("next",) * 3):
        word, shape = question.text.split()[5], question.text.split()[-1]
        order = sorted(scene.things, key=lambda thing: 3 * thing.row + thing.column)
        (place,) = [i for i, thing in enumerate(order) if thing.shape == shape]
        neighbour = order[place + {"after": 1, "before": -1}[word]]
        assert question.answer == neighbour.color
        assert (question.relevant == scene.patches_of((order[place], neighbour))).all()


def test_words_of_a_kind_are_enough_and_no_more() -> None:
    assert words_of(SHIPPED) == WORDS
    assert words_of(("count", "next")) == DEEPER_WORDS and DEEPER_WORDS[: len(WORDS)] == WORDS
    for index in range(20):
        (question,) = ask(draw_scene(1, index), 1, index, ("next",))
        Vocabulary(DEEPER_WORDS).question(question.text)
