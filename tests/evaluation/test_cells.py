"""The evaluation's shared, packed reading says what the model says, asked one question at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from entropyprune_ref.collapse import layer_entropy
from entropyprune_ref.evaluation.cells import Batch
from entropyprune_ref.evaluation.plan import COSTS, GROUND_TRUTH, HELD_OUT, SHARES, Cell, EqualCost, Plan, scorers
from entropyprune_ref.evaluation.reading import Asked, picked
from entropyprune_ref.evaluation.run import evaluate
from entropyprune_ref.llava import Llava, Vocabulary, pixels
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.scorers import RIVALS, EntropyScorer, LayerView, Random
from entropyprune_ref.world.questions import SHIPPED, WORDS
from entropyprune_ref.world.scenes import GRID, draw_scene

IMAGES, FIRST = 4, 300
# Two ways to sum the same float64 terms: the packed prefix at once, and every prompt on its own.
ROUNDING = 1e-9


@pytest.fixture(scope="module")
def model() -> Llava:
    """The bundled model, for it answers: a model that is always wrong would agree with anything."""
    return Llava.from_pretrained().double()


@pytest.fixture(scope="module")
def batch(model: Llava) -> Batch:
    return Batch(model, Plan(batch=IMAGES), range(FIRST, FIRST + IMAGES))


def shown(batch: Batch) -> tuple[Tensor, list[str]]:
    """Every question with its image, one row each."""
    drawn = np.stack([draw_scene(HELD_OUT, index).image for index in batch.indices])
    texts = [question.text for row in batch.questions for question in row]
    return pixels(torch.from_numpy(drawn)).double().repeat_interleave(len(SHIPPED), dim=0), texts


def said_alone(batch: Batch, scorer: object, layer: int, keep: int) -> np.ndarray:
    """Whether `generate` with the same pruner gives each answer and ends, `(images, kinds)`."""
    images, texts = shown(batch)
    pruner = EntropyPrune(layer, keep=keep, scorer=scorer)
    said = batch.model.generate(images, texts, pruner=pruner, max_new_tokens=2).tokens
    vocabulary = Vocabulary(WORDS)
    wanted = torch.tensor([[*vocabulary.encode(q.answer), vocabulary.eos] for row in batch.questions for q in row])
    return (said == wanted).all(dim=1).reshape(IMAGES, -1).numpy()


def by_hand(name: str, batch: Batch) -> object:
    """The scorer of a name for a batch that asks every image four questions in a row."""
    if name == GROUND_TRUTH:
        relevant = torch.from_numpy(np.stack([q.relevant for row in batch.questions for q in row])).double()

        def truth(view: LayerView) -> Tensor:
            scores = torch.zeros(view.image_index.shape, dtype=torch.float64)
            scores[view.visual] = relevant.flatten()
            return scores

        return truth
    if name == "random":

        def own_draw(view: LayerView) -> Tensor:
            rows = range(len(view.image_index))
            return torch.cat([Random(FIRST + row // len(SHIPPED))(view.rows(slice(row, row + 1))) for row in rows])

        return own_draw
    return scorers()[name]


CELLS = [(1, 16), (1, 40), (2, 8)]


@pytest.mark.parametrize(
    "name", [GROUND_TRUTH, "token-entropy-paper", "last-token-attention", "mean-attention", "random"]
)
def test_evaluation_agrees_with_generate(name: str, batch: Batch) -> None:
    """Every verdict is that of greedy decoding with the same pruner; right and wrong ones are among them."""
    verdicts = []
    for layer, keep in CELLS:
        right, _ = batch.cell(Cell(name, layer, keep), *batch.scores(name, layer))
        assert (right == said_alone(batch, by_hand(name, batch), layer, keep)).all()
        verdicts.append(right)
    assert 0.2 < np.mean(verdicts) < 1


def test_evaluation_of_the_whole_model_agrees_with_generate(batch: Batch) -> None:
    right, recall = batch.cell(Cell("unpruned", batch.depth, GRID**2), *batch.scores("unpruned", batch.depth))
    assert (right == said_alone(batch, EntropyScorer(), 1, GRID**2)).all() and right.mean() > 0.9
    assert (recall[~np.isnan(recall)] == 1).all()


def seen(model: Llava, images: Tensor, texts: list[str], layer: int) -> LayerView:
    views: list[LayerView] = []

    def look(view: LayerView) -> Tensor:
        views.append(view)
        return torch.zeros(view.image_index.shape)

    model(images, texts, pruner=EntropyPrune(layer, keep=4, scorer=look))
    return views[0]


@pytest.mark.parametrize("layer", [1, 2])
def test_scorers_see_in_the_evaluation_what_they_see_in_the_model(layer: int, batch: Batch) -> None:
    """States that enter the layer, queries and keys of the layer before, up to the last word of the question."""
    images, texts = shown(batch)
    alone, shared, prefix = (
        seen(batch.model, images, texts, layer),
        batch.asked.view_with_questions(layer),
        batch.asked.view(layer),
    )
    for row in range(len(texts)):
        real, ours = alone.attended[row], shared.attended[row]
        assert int(real.sum()) == int(ours.sum())
        assert torch.equal(alone.image_index[row, real], shared.image_index[row, ours])
        for name, axis in (("hidden", 0), ("queries", 1), ("keys", 1)):
            theirs = _at(getattr(alone, name)[row], real, axis)
            torch.testing.assert_close(_at(getattr(shared, name)[row], ours, axis), theirs, rtol=0, atol=ROUNDING)
            own = getattr(prefix, name)[row // len(SHIPPED)]
            length = own.shape[axis]
            torch.testing.assert_close(own, theirs.narrow(axis, 0, length), rtol=0, atol=ROUNDING)


def _at(values: Tensor, mask: Tensor, axis: int) -> Tensor:
    return values.index_select(axis, mask.nonzero().squeeze(-1))


def test_foreign_scorer_among_the_rivals_sees_the_question(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scorer that states nothing is shown the question: here it reads the last word's state."""

    def foreign(view: LayerView) -> Tensor:
        order = torch.arange(view.attended.shape[1])
        last = torch.where(view.attended, order, 0).amax(dim=1)
        question = view.hidden[torch.arange(len(last)), last]
        return (view.hidden * question[:, None]).sum(-1)

    monkeypatch.setitem(RIVALS, "foreign", foreign)
    view, scores = batch.scores("foreign", 1)
    assert len(view.image_index) == IMAGES * len(SHIPPED) and not torch.equal(scores[0], scores[1])
    right, _ = batch.cell(Cell("foreign", 1, 40), view, scores)
    assert (right == said_alone(batch, foreign, 1, 40)).all()
    assert "foreign" in Plan().compared()


def test_scorers_that_read_no_text_are_not_asked_for_every_question(batch: Batch) -> None:
    """What a scorer says of itself is true: with the question in view its scores of the image are the same."""
    for name, scorer in scorers().items():
        if scorer is not None and not getattr(scorer, "reads_text", True) and name != "random":
            alone, with_text = scorer(batch.asked.view(1)), scorer(batch.asked.view_with_questions(1))
            repeated = alone[:, : batch.asked.prefix].repeat_interleave(len(SHIPPED), dim=0)
            torch.testing.assert_close(with_text[:, : batch.asked.prefix], repeated, rtol=1e-9, atol=1e-9)
        elif name in ("last-token-attention", "mean-attention"):
            assert scorer.reads_text is True
            scores = scorer(batch.asked.view_with_questions(1))
            assert not torch.equal(scores[0], scores[1])


def test_random_draws_anew_for_every_image_and_alike_for_every_layer(batch: Batch) -> None:
    (view, first), (_, second) = batch.scores("random", 1), batch.scores("random", 2)
    assert torch.equal(first, second)
    visual = [first[row][view.visual[row]] for row in range(IMAGES)]
    assert not torch.equal(visual[0], visual[1])
    assert torch.equal(visual[2], Random(FIRST + 2)(view.rows(slice(2, 3)))[0][view.visual[2]])


@pytest.mark.parametrize("text", [False, True])
def test_a_scorer_of_an_image_sees_that_image(text: bool, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    class Numbered:
        reads_text = text

        def __call__(self, view: LayerView) -> Tensor:
            raise AssertionError("the scorer of no image")

        def for_image(self, number: int) -> object:
            return lambda view: view.hidden.sum(-1) + 1000 * number

    monkeypatch.setitem(RIVALS, "numbered", Numbered())
    view, scores = batch.scores("numbered", 1)
    numbers = torch.arange(FIRST, FIRST + IMAGES).repeat_interleave(len(SHIPPED) if text else 1)
    assert torch.equal(scores, view.hidden.sum(-1) + 1000 * numbers[:, None])


def test_recall_is_the_share_of_what_matters(batch: Batch) -> None:
    """With as many tokens as the largest thing has, keeping the ground truth keeps all of it; counted by hand."""
    view, scores = batch.scores("random", 1)
    cell = Cell("random", 1, 40)
    kept = batch.kept(cell, view, scores)[:, 2:].numpy()
    _, recall = batch.cell(cell, view, scores)
    for image, row in enumerate(batch.questions):
        for place, question in enumerate(row):
            matters = np.flatnonzero(question.relevant)
            if len(matters):
                assert recall[image, place] == pytest.approx(np.mean([kept[image, patch] for patch in matters]))
    _, all_of_it = batch.cell(Cell(GROUND_TRUTH, 1, 40), *batch.scores(GROUND_TRUTH, 1))
    assert (all_of_it[~np.isnan(all_of_it)] == 1).all()


def test_picked_tokens_take_their_position_along(batch: Batch) -> None:
    """Where no token of the prefix is read by another any more, their order in the sequence changes no answer."""
    asked, last = batch.asked, batch.depth - 1
    reading = asked.before(last)
    slots = torch.arange(asked.prefix).flip(0).expand(IMAGES, -1)
    mirrored = picked(reading, torch.arange(IMAGES), slots, torch.ones_like(slots, dtype=torch.bool))
    assert torch.equal(asked.resume(mirrored), asked.resume(reading))


FILLER = 120  # so much that it would drown out the rest


def test_picked_filler_is_not_read(batch: Batch) -> None:
    """Rows of different lengths are filled up; what they are filled with changes nothing."""
    asked, reading = batch.asked, batch.asked.before(1)
    slots = torch.tensor([[7] * FILLER + list(range(asked.prefix))]).expand(IMAGES, -1)
    real = torch.tensor([[False] * FILLER + [True] * asked.prefix]).expand(IMAGES, -1)
    filled = picked(reading, torch.arange(IMAGES), slots, real)
    with torch.no_grad():
        left, whole = batch.model.resume(filled), batch.model.resume(reading)
    torch.testing.assert_close(left.logits[:, FILLER:], whole.logits, rtol=0, atol=ROUNDING)
    assert torch.equal(asked.resume(filled), asked.resume(reading))


def test_run_judges_every_cell_by_the_scores_of_its_own_scorer_and_layer(model: Llava) -> None:
    batch = Batch(model, Plan(layers=(1, 2), keeps=(16, 4), averages=()), range(FIRST, FIRST + 2))
    correct, recall, curves = batch.run()
    cells = batch.plan.cells(model)
    assert len(correct) == len(recall) == len(cells) and curves.shape == (2, 7)
    images = pixels(torch.from_numpy(np.stack([draw_scene(HELD_OUT, index).image for index in batch.indices])))
    with torch.no_grad():
        out = model(images.double(), [batch.questions[0][0].text] * 2, keep_trace=True)
    visual = out.prompt.image_index[0] >= 0
    states = torch.stack(list(out.states), dim=1)[:, :, visual]
    np.testing.assert_allclose(curves, layer_entropy(states).numpy(), rtol=0, atol=ROUNDING)
    for place, cell in enumerate(cells):
        if cell.scorer in ("unpruned", "random", "last-token-attention", GROUND_TRUTH, "none kept"):
            right, found = batch.cell(cell, *batch.scores(cell.scorer, cell.layer))
            assert (right == correct[place]).all()
            np.testing.assert_array_equal(found, recall[place])


def test_asked_builds_no_graph_of_a_model_that_is_being_trained(batch: Batch) -> None:
    model, enabled = Llava.from_pretrained().requires_grad_(True), []
    images = [draw_scene(HELD_OUT, index).image for index in batch.indices]
    asked = Asked(model, images, batch.questions)
    assert not any(state.requires_grad for state in asked.states)
    model.lm_head.register_forward_pre_hook(lambda *_: enabled.append(torch.is_grad_enabled()))
    asked.resume(asked.before(5))
    assert enabled and not any(enabled)


def test_evaluate_goes_on_where_it_stopped(tmp_path: Path) -> None:
    model = Llava.from_pretrained()
    plan = Plan(images=4, layers=(2,), keeps=(16,), averages=(72,), batch=2)
    whole = evaluate(model, plan, tmp_path / "whole")
    assert 0 < whole.correct.mean() < 1

    def stop(done: int, _: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(model, plan, tmp_path / "parts", stop)
    assert len(list((tmp_path / "parts").glob("images-*.npz"))) == 1
    resumed = evaluate(model, plan, tmp_path / "parts")
    assert (whole.correct == resumed.correct).all()
    np.testing.assert_array_equal(whole.recall, resumed.recall)
    np.testing.assert_array_equal(whole.curves, resumed.curves)
    assert whole.curves.shape == (4, 7)
    assert (whole.right("random", 2, 16) == whole.correct[whole.cells.index(Cell("random", 2, 16))]).all()
    with pytest.raises(ValueError, match="same plan and model"):
        evaluate(model, Plan(images=6, layers=(2,), keeps=(16,), averages=(72,), batch=2), tmp_path / "parts")
    with pytest.raises(ValueError, match="same plan and model"):
        evaluate(Llava(model.config).eval(), plan, tmp_path / "parts")


def test_evaluate_reports_the_images_that_are_done_and_does_no_more(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    plan = Plan(images=3, layers=(), keeps=(), averages=(), batch=2)
    outcome = evaluate(Llava.from_pretrained(), plan, tmp_path / "new" / "deep", lambda *images: done.append(images))
    assert done == [(2, 3), (3, 3)]
    assert outcome.correct.shape == outcome.recall.shape == (6, 3, 4) and outcome.curves.shape == (3, 7)


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "incomplete"])
def test_evaluate_says_which_results_are_damaged(damage: str, tmp_path: Path) -> None:
    model = Llava.from_pretrained()
    plan = Plan(images=2, layers=(), keeps=(), averages=(), batch=2)
    evaluate(model, plan, tmp_path)
    part = tmp_path / "images-00000.npz"
    whole = part.read_bytes()
    if damage == "incomplete":
        with np.load(part) as loaded:
            np.savez_compressed(part, correct=loaded["correct"])
    else:
        part.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "foreign": b"a text"}[damage])
    with pytest.raises(ValueError, match=r"images-00000\.npz must hold whole results of this plan.*delete it"):
        evaluate(model, plan, tmp_path)


def test_plan_asks_every_scorer_at_every_budget_and_has_its_floors() -> None:
    model = Llava.from_pretrained()
    cells = Plan().cells(model)
    assert len(set(cells)) == len(cells)
    assert cells[0] == Cell("unpruned", 6, 144) and cells[-5:] == [Cell("none kept", layer, 0) for layer in range(1, 6)]
    few = Plan(layers=(2, 1), keeps=(16, 72), averages=()).cells(model)
    chosen = [(cell.layer, cell.keep) for cell in few if cell.scorer == "random"]
    assert chosen == [(2, 72), (2, 16), (1, 72), (1, 16)]
    assert EqualCost() == EqualCost(layers=(), averages=COSTS, keeps=()) != Plan(layers=(), averages=COSTS, keeps=())
    floors = [Cell("unpruned", 6, 144), *(Cell("none kept", layer, 0) for layer in range(1, 6))]
    assert Plan(layers=(6, 7)).cells(model) == floors  # which the model does not have
    assert all(cell.keep for cell in EqualCost().cells(model) if cell.scorer != "none kept")
    for scorer in scorers():
        for layer in (1, 2, 3, 4):
            assert {cell.keep for cell in cells if (cell.scorer, cell.layer) == (scorer, layer)} >= set(SHARES)
