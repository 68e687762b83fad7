"""The little world: exactly reproducible, answers that the picture confirms, packing that changes nothing."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref.evaluation import cells as evaluation
from entropyprune_ref.evaluation.cells import GROUND_TRUTH, HELD_OUT, Batch, Cell, Plan, evaluate, keep_of, scorers
from entropyprune_ref.evaluation.statistics import mean_interval, wilson
from entropyprune_ref.llava.cache import LayerCache
from entropyprune_ref.llava.config import DecoderConfig, LlavaConfig, VisionConfig
from entropyprune_ref.llava.model import Llava
from entropyprune_ref.llava.vision import pixels
from entropyprune_ref.llava.vocabulary import Vocabulary
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.scorers import Random
from entropyprune_ref.scorers.given import GivenTokens
from entropyprune_ref.training import stages as training
from entropyprune_ref.training.muon import orthogonalised
from entropyprune_ref.training.packing import IGNORED, pack
from entropyprune_ref.world.questions import KINDS, NUMBERS, WORDS, ask
from entropyprune_ref.world.scenes import COLORS, COLUMNS, GRID, IMAGE_SIZE, PATCH_SIZE, ROWS, draw_scene

streams = st.tuples(st.integers(0, 100), st.integers(0, 10_000))
ALL_KINDS = tuple(KINDS)


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


@pytest.mark.parametrize("name", [GROUND_TRUTH, "token-entropy-paper", "last-token-attention", "duplication", "random"])
def test_evaluation_agrees_with_generate(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shared, packed evaluation gives every question the verdict of `generate` with the same pruner."""
    model = small_llava()
    monkeypatch.setattr(evaluation, "pixels", lambda images: pixels(images).double())
    plan = Plan(images=3, kinds=ALL_KINDS, layers=(1, 2), keeps=(40, 5), averages=(), batch=3)
    batch = Batch(model, plan, range(3))
    images = pixels(torch.stack([torch.from_numpy(draw_scene(HELD_OUT, i).image) for i in range(3)])).double()
    checked = 0
    for layer in plan.layers:
        scores = batch._scores(name, layer)
        for keep in plan.keeps:
            right, _ = batch._cell(Cell(name, layer, keep), scores)
            for image, row in enumerate(batch.questions):
                for column, question in enumerate(row):
                    scorer = scorers()[name]
                    if name == "random":
                        scorer = Random(image)
                    if scorer is None:
                        length = len(Vocabulary(WORDS).prompt(question.text, GRID * GRID))
                        mask = torch.zeros(1, length, dtype=torch.bool)
                        mask[0, 2 : 2 + GRID * GRID] = torch.from_numpy(question.relevant)
                        scorer = GivenTokens(mask)
                    pruner = EntropyPrune(layer, keep=keep, scorer=scorer)
                    said = model.generate(images[image : image + 1], [question.text], pruner=pruner)
                    wanted = torch.tensor([*Vocabulary(WORDS).encode(question.answer), Vocabulary(WORDS).eos])
                    agrees = said.tokens.shape[1] >= len(wanted) and bool(
                        (said.tokens[0, : len(wanted)] == wanted).all()
                    )
                    assert bool(right[image, column]) == agrees
                    checked += 1
    assert checked == 2 * 2 * 3 * len(ALL_KINDS)


def test_evaluation_wants_the_answer_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that says "yes" for ever is never right; one that also ends right after it is right where "yes" is."""
    monkeypatch.setattr(evaluation, "pixels", lambda images: pixels(images).double())
    batch = Batch(small_llava(), Plan(kinds=("exist", "color"), images=12, batch=12), range(12))
    yes, end = WORDS.index("yes"), Vocabulary(WORDS).eos
    cell, scores = Cell("unpruned", 3, 144), torch.zeros(12, 144)

    class Says(torch.nn.Module):
        def __init__(self, ends: bool) -> None:
            super().__init__()
            self.ends = ends

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            said = torch.full(hidden.shape[:2], yes)
            if self.ends:
                said[batch.packed.ids == yes] = end
            return torch.nn.functional.one_hot(said, len(WORDS)).double()

    batch.model.lm_head = Says(ends=False)  # type: ignore[assignment]
    assert not batch._cell(cell, scores)[0].any()
    batch.model.lm_head = Says(ends=True)  # type: ignore[assignment]
    wanted = [[question.answer == "yes" for question in row] for row in batch.questions]
    assert batch._cell(cell, scores)[0].tolist() == wanted
    assert 0 < sum(row[0] for row in wanted) < 12


def test_evaluate_goes_on_where_it_stopped(tmp_path: Path) -> None:
    model = small_llava(torch.float32)
    plan = Plan(images=4, layers=(1,), keeps=(16,), averages=(72,), batch=2)
    whole = evaluate(model, plan, tmp_path / "whole")

    def stop(done: int, _: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(model, plan, tmp_path / "parts", stop)
    assert len(list((tmp_path / "parts").glob("images-*.npz"))) == 1
    resumed = evaluate(model, plan, tmp_path / "parts")
    assert (whole.correct == resumed.correct).all()
    np.testing.assert_array_equal(whole.recall, resumed.recall)
    with pytest.raises(ValueError, match="same plan and model"):
        evaluate(model, Plan(images=6, layers=(1,), keeps=(16,), averages=(72,), batch=2), tmp_path / "parts")


def test_plan_marks_infeasible_averages() -> None:
    """Three layers of 144 tokens: an average of 48 is spent by layer 0 alone, so K = 1 leaves none and K = 2 cannot."""
    model = small_llava()
    assert keep_of(48, 1, model) == 0
    assert keep_of(48, 2, model) is None
    assert keep_of(144, 2, model) == 144


def tiny_recipe() -> training.Recipe:
    return training.Recipe(vision_steps=2, decoder_steps=3, vision_batch=2, batch=2, asked=ALL_KINDS, warmup=2)


def test_train_resumes_to_the_same_weights(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    whole = training.train(recipe, tmp_path / "whole")

    def stop(stage: str, done: int, *_: object) -> None:
        if (stage, done) == ("decoder", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, tmp_path / "parts", stop, save_every=1)
    with pytest.raises(ValueError, match="same recipe"):
        training.train(training.Recipe(seed=1, vision_steps=2, decoder_steps=3), tmp_path / "parts")
    resumed = training.train(recipe, tmp_path / "parts", save_every=1)
    for (name, left), right in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0, msg=name)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["model.safetensors", "training.json"]


def test_train_changes_tower_then_freezes_it(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    towers = []

    def watch(stage: str, done: int, *_: object) -> None:
        towers.append((stage, done))

    model = training.train(recipe, tmp_path, watch)
    assert towers == [("vision", 1), ("vision", 2), ("decoder", 1), ("decoder", 2), ("decoder", 3)]
    torch.manual_seed(recipe.seed)
    fresh = Llava(training.bundled_config())
    assert not torch.equal(model.vision_tower.patch_embedding.weight, fresh.vision_tower.patch_embedding.weight)
    assert not torch.equal(model.lm_head.weight, fresh.lm_head.weight)


@given(st.integers(0, 1000), st.sampled_from([(4, 4), (3, 8), (8, 3)]))
def test_orthogonalised_keeps_singular_vectors_and_levels_their_values(seed: int, shape: tuple[int, int]) -> None:
    """Five steps of Jordan's quintic bring singular values in [0.01, 1] of the norm to [0.6, 1.3]."""
    matrix = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix[0], full_matrices=False)
    result = left.T @ orthogonalised(matrix)[0] @ right.T
    torch.testing.assert_close(result, result.diag().diag(), rtol=0, atol=1e-9)
    solid = values / values.norm() > 0.01
    assert ((result.diag()[solid] > 0.6) & (result.diag()[solid] < 1.3)).all()


def test_wilson_is_the_interval_of_scipy() -> None:
    from scipy.stats import binomtest

    for right, asked in [(0, 10), (7, 10), (500, 500), (481, 500)]:
        low, high = binomtest(right, asked).proportion_ci(method="wilson")
        share, ours_low, ours_high = wilson(right, asked)
        np.testing.assert_allclose((share, ours_low, ours_high), (right / asked, low, high), rtol=1e-12, atol=1e-15)


def test_mean_interval_covers_the_mean_as_often_as_it_says() -> None:
    """400 samples of 200: the share covered is within four standard deviations (0.044) of 95 %."""
    random = np.random.default_rng(0)
    covered = [low <= 0.3 <= high for _, low, high in (mean_interval(random.random(200) < 0.3) for _ in range(400))]
    assert abs(np.mean(covered) - 0.95) < 0.044
