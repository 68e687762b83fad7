"""The bookkeeping of pruning inside the model: positions, masks, caches, budgets, whatever the scores are.

Every law is tested on random models (grouped queries, free head size, both kinds of attention) and random batches
(several images anywhere in a prompt, different numbers in every row, padding anywhere), in float64. The full and the
masked forward passes that pruning is compared with are written out in `tests/helpers.py`: they gather nothing and cache
nothing.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from entropyprune_ref.llava import Llava, LlavaConfig
from entropyprune_ref.llava.cache import Cache
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.pruning import prune_plan
from entropyprune_ref.scorers import RIVALS, Duplication, HiddenNorm, QueryNorm
from entropyprune_ref.scorers.entropy import EntropyScorer
from entropyprune_ref.scorers.given import GivenTokens
from entropyprune_ref.scorers.view import LayerView, Scorer
from entropyprune_ref.scoring import CONVENTIONS, PAPER
from tests.helpers import ROUNDING, Batch, batches, configs, make_batch, masked_states, random_llava, tiny_config

# Scores of random tokens that differ by less than rounding are not to be expected: with at least three heads no two
# tokens have the same entropy.
SCORERS: tuple[Scorer, ...] = (*map(EntropyScorer, CONVENTIONS.values()), QueryNorm(), HiddenNorm(), Duplication())


@dataclass
class Case:
    """A model, a batch for it, and a pruner for both."""

    config: LlavaConfig
    seed: int
    batch: Batch
    pruner: EntropyPrune

    @cached_property
    def model(self) -> Llava:
        return random_llava(self.config, self.seed)

    def with_batch(self, batch: Batch) -> "Case":
        other = replace(self, batch=batch)
        other.model = self.model
        return other

    def prefill(self, pruner: EntropyPrune | None, *, keep_trace: bool = False):
        return self.model(
            self.batch.images, self.batch.ids, attended=self.batch.attended, pruner=pruner, keep_trace=keep_trace
        )

    def new_tokens(self, count: int) -> Tensor:
        size = self.model.config.decoder.vocabulary
        return torch.randint(size, (len(self.batch.ids), count), generator=torch.Generator().manual_seed(1))


@st.composite
def cases(draw: st.DrawFn, min_heads: int = 1, max_rows: int = 3, injected: bool = True) -> Case:
    """A pruner with any layer, any number to keep and any scorer, a random choice of tokens among them."""
    config: LlavaConfig = draw(configs(min_heads=min_heads))
    batch: Batch = draw(batches(config, max_rows))
    layer = draw(st.integers(1, config.decoder.layers - 1), label="prune layer")
    fewest = int(batch.visual.sum(dim=1).min())
    keep = draw(st.integers(0, fewest), label="keep")
    # what a GivenTokens scores 1 is kept first, ties go to the earlier token: an irregular choice
    wanted = torch.rand(batch.ids.shape, generator=torch.Generator().manual_seed(2)) > 0.5
    scorers = [*SCORERS, GivenTokens(wanted)] if injected else list(SCORERS)
    if config.decoder.heads == 1:  # no entropy over heads, and the released convention divides by its maximum
        scorers = [scorer for scorer in scorers if not isinstance(scorer, EntropyScorer)]
    pruner = EntropyPrune(
        layer,
        keep,
        scorer=draw(st.sampled_from(scorers), label="scorer"),
        over_images=draw(st.sampled_from(["each", "all"]), label="over_images"),
    )
    return Case(config, draw(st.integers(0, 2**16), label="model seed"), batch, pruner)


@given(cases())
def test_pruned_prefill_equals_the_prefill_in_which_dropped_tokens_are_masked_out(case: Case) -> None:
    """The strongest single check: positions, masks, order and gathering at once, at every state of every kept token."""
    out = case.prefill(case.pruner, keep_trace=True)
    expected = masked_states(case.model, case.batch, out.kept, case.pruner.layer)
    assert len(out.states) == len(expected) == case.model.config.decoder.layers + 1
    rows, slots = torch.nonzero(out.attended, as_tuple=True)
    places = out.index[rows, slots]
    for number, (got, want) in enumerate(zip(out.states, expected, strict=True)):
        if number < case.pruner.layer:
            seen = case.batch.attended
            torch.testing.assert_close(got[seen], want[seen], **ROUNDING)
        else:
            torch.testing.assert_close(got[rows, slots], want[rows, places], **ROUNDING)
    logits = case.model.lm_head(case.model.decoder.norm(expected[-1]))
    torch.testing.assert_close(out.logits[rows, slots], logits[rows, places], **ROUNDING)


@given(cases())
def test_pruned_decoding_equals_decoding_in_which_dropped_tokens_are_masked_out(case: Case) -> None:
    """Five steps with the cache against one uncached forward pass of everything; random words, not the likeliest."""
    out = case.prefill(case.pruner)
    words = case.new_tokens(5)
    expected = masked_states(case.model, case.batch, out.kept, case.pruner.layer, words)[-1]
    expected = case.model.lm_head(case.model.decoder.norm(expected[:, -words.shape[1] :]))
    for step in range(words.shape[1]):
        got = case.model.step(words[:, step : step + 1], out.cache)
        torch.testing.assert_close(got[:, 0], expected[:, step], **ROUNDING)


@given(cases(), st.data())
def test_pruning_that_keeps_all_is_no_pruning_bit_for_bit(case: Case, data: st.DataObject) -> None:
    """Prefill, states, caches, decoding steps and generated words, whichever way the budget says "all"."""
    counts = case.batch.visual.sum(dim=1).tolist()
    budgets = [{"ratio": 0}] + [{"keep": counts[0]}, {"average": counts[0]}] * (len(set(counts)) == 1)
    pruner = EntropyPrune(case.pruner.layer, scorer=case.pruner.scorer, **data.draw(st.sampled_from(budgets)))
    pruned, plain = case.prefill(pruner, keep_trace=True), case.prefill(None, keep_trace=True)
    assert pruned.kept.all() and plain.kept.all()
    for name in ("logits", "index", "attended", "positions"):
        assert torch.equal(getattr(pruned, name), getattr(plain, name)), name
    for name in ("states", "queries"):
        assert all(map(torch.equal, getattr(pruned, name), getattr(plain, name))), name
    for mine, theirs in zip(pruned.cache.layers, plain.cache.layers, strict=True):
        assert torch.equal(mine.keys, theirs.keys) and torch.equal(mine.values, theirs.values)
    for step in case.new_tokens(4).split(1, dim=1):
        assert torch.equal(case.model.step(step, pruned.cache), case.model.step(step, plain.cache))
    inputs = {"images": case.batch.images, "questions": case.batch.ids, "attended": case.batch.attended}
    generated = [case.model.generate(**inputs, pruner=choice, max_new_tokens=5).tokens for choice in (pruner, None)]
    assert torch.equal(*generated)


@given(cases(max_rows=1))
def test_caches_before_the_prune_layer_hold_the_prompt_and_later_ones_what_is_left(case: Case) -> None:
    """n entries below layer K, T + k from it on, each once, and one more with every decoding step."""
    case = case.with_batch(case.batch.alone(0))
    layers, prompt = case.model.config.decoder.layers, case.batch.ids.shape[1]
    text = int((~case.batch.visual).sum())
    below = [prompt] * case.pruner.layer
    above = [text + case.pruner.keep] * (layers - case.pruner.layer)
    out = case.prefill(case.pruner)
    assert out.cache.lengths() == below + above
    for steps, word in enumerate(case.new_tokens(4).split(1, dim=1), start=1):
        case.model.step(word, out.cache)
        assert out.cache.lengths() == [length + steps for length in below + above]


@given(cases())
def test_caches_of_a_batch_attend_to_what_each_row_has_left(case: Case) -> None:
    """Rows of different length share a cache: the entries that a row may look at are its own n, or T + k."""
    out = case.prefill(case.pruner)
    whole = case.batch.attended.sum(dim=1)
    left = (case.batch.attended & ~case.batch.visual).sum(dim=1) + case.pruner.keep
    first, second = out.cache.spans
    assert [*first.layers, *second.layers] == list(range(case.model.config.decoder.layers))
    assert first.layers.stop == second.layers.start == case.pruner.layer
    for steps, word in enumerate(case.new_tokens(4).split(1, dim=1), start=1):
        case.model.step(word, out.cache)
        assert torch.equal(first.attended.sum(dim=1), whole + steps)
        assert torch.equal(second.attended.sum(dim=1), left + steps)
        for span in (first, second):
            assert {len(out.cache.layers[layer]) for layer in span.layers} == {span.attended.shape[1]}


@given(cases())
def test_text_is_never_dropped(case: Case) -> None:
    out = case.prefill(case.pruner)
    text = case.batch.attended & ~case.batch.visual
    assert out.kept[text].all()
    for row in range(len(text)):
        left = set(out.index[row][out.attended[row]].tolist())
        assert set(torch.nonzero(text[row]).flatten().tolist()) <= left


@given(cases())
def test_order_and_positions_are_kept_and_decoding_goes_on_behind_the_whole_prompt(case: Case) -> None:
    """The order is that of the prompt, positions are those before pruning, the next is n and not T + k."""
    out = case.prefill(case.pruner)
    for row, attended in enumerate(out.attended):
        places = out.index[row][attended].tolist()
        assert places == torch.nonzero(out.kept[row] & case.batch.attended[row]).flatten().tolist()
        assert out.positions[row][attended].tolist() == case.batch.positions[row, places].tolist()
    length = case.batch.attended.sum(dim=1)
    assert torch.equal(out.cache.next_positions, length)
    case.model.step(case.new_tokens(1), out.cache)
    assert torch.equal(out.cache.next_positions, length + 1)


@given(cases(min_heads=3, injected=False), st.data())
def test_permuting_the_batch_permutes_the_output(case: Case, data: st.DataObject) -> None:
    """What is kept is the same exactly; logits agree to rounding only, because a matrix product may sum in another
    order where a row stands elsewhere in the batch."""
    order = data.draw(st.permutations(range(len(case.batch.ids))), label="order")
    out = case.prefill(case.pruner)
    permuted = case.with_batch(case.batch.rows(order)).prefill(case.pruner)
    assert torch.equal(permuted.kept, out.kept[order])
    assert torch.equal(permuted.index, out.index[order])
    assert torch.equal(permuted.positions, out.positions[order])
    assert torch.equal(permuted.cache.next_positions, out.cache.next_positions[order])
    torch.testing.assert_close(permuted.logits, out.logits[order], **ROUNDING)
    word = case.new_tokens(1)
    steps = case.model.step(word[order], permuted.cache), case.model.step(word, out.cache)[order]
    torch.testing.assert_close(*steps, **ROUNDING)


@given(cases(min_heads=3, injected=False))
def test_a_row_of_a_padded_batch_is_the_row_alone(case: Case) -> None:
    """Padding and the other rows change neither what is kept nor, beyond rounding, any logit, also in decoding."""
    out, words = case.prefill(case.pruner), case.new_tokens(4)
    steps = [case.model.step(word, out.cache) for word in words.split(1, dim=1)]
    for row in range(len(case.batch.ids)):
        alone = case.with_batch(case.batch.alone(row))
        single = alone.prefill(case.pruner)
        real = case.batch.attended[row]
        assert torch.equal(out.kept[row, real], single.kept[0])
        assert torch.equal(out.kept_visual()[row], single.kept_visual()[0])
        assert torch.equal(out.positions[row, out.attended[row]], single.positions[0])
        torch.testing.assert_close(out.logits[row, out.attended[row]], single.logits[0], **ROUNDING)
        for step, word in zip(steps, words[row : row + 1].split(1, dim=1), strict=True):
            torch.testing.assert_close(step[row], case.model.step(word, single.cache)[0], **ROUNDING)


@given(cases(), st.integers(0, 20), st.booleans())
def test_budgets_leave_what_the_plan_says_in_every_image(case: Case, twentieths: int, by_average: bool) -> None:
    """By ratio or average every row has its own plan; over "each" image a row's tokens are split evenly, the earlier
    taking what is left over, and over "all" they add up. Images have the same size, so the split is arithmetic."""
    layers, layer = case.model.config.decoder.layers, case.pruner.layer
    counts = case.batch.visual.sum(dim=1).tolist()
    if by_average:  # anything between the least feasible for the longest row and the shortest row
        least = Fraction(layer * max(counts), layers)
        assume(least <= min(counts))
        budget = {"average": least + (min(counts) - least) * twentieths / 20}
        expected = [math.floor((layers * budget["average"] - layer * n) / (layers - layer)) for n in counts]
    else:
        budget = {"ratio": twentieths / 20}
        expected = [n * (20 - twentieths) // 20 for n in counts]
    pruner = EntropyPrune(layer, scorer=case.pruner.scorer, over_images=case.pruner.over_images, **budget)
    out = case.prefill(pruner)
    for row, (count, keep) in enumerate(zip(counts, expected, strict=True)):
        assert prune_plan(visual_tokens=count, layers=layers, prune_layer=layer, **budget).keep == keep
        assert len(out.kept_visual()[row]) == keep
        kept_images = case.batch.image_index[row][out.kept[row] & case.batch.visual[row]]
        images = count // case.model.config.vision.patches
        if pruner.over_images == "each":
            share, more = divmod(keep, images)
            assert torch.bincount(kept_images, minlength=images).tolist() == [share + (i < more) for i in range(images)]


@given(cases())
def test_scorers_see_the_queries_before_and_the_states_at_the_prune_layer(case: Case) -> None:
    """Queries and keys are those of layer K - 1, hidden states those that enter layer K, the same bits as unpruned."""
    plain, pruned = case.prefill(None, keep_trace=True), case.prefill(case.pruner)
    layer, view = case.pruner.layer, pruned.view
    assert view is not None and plain.view is None
    assert torch.equal(view.queries, plain.queries[layer - 1])
    assert torch.equal(view.keys, plain.cache.layers[layer - 1].keys)
    assert torch.equal(view.hidden, plain.states[layer])
    assert torch.equal(view.image_index, case.batch.image_index)
    assert torch.equal(view.attended, case.batch.attended)


@given(cases())
def test_queries_and_states_of_a_pruned_prefill_change_length_at_the_prune_layer(case: Case) -> None:
    """One state more than layers; queries of layer i belong to the tokens of state i."""
    out = case.prefill(case.pruner, keep_trace=True)
    before, after = case.batch.ids.shape[1], out.index.shape[1]
    lengths = [before] * case.pruner.layer + [after] * (case.model.config.decoder.layers - case.pruner.layer)
    assert [state.shape[1] for state in out.states] == [*lengths, after]
    assert [queries.shape[2] for queries in out.queries] == lengths


@given(cases(), st.integers(0, 2**16))
def test_given_tokens_are_kept_and_no_others(case: Case, seed: int) -> None:
    """Selection injected: any subset of a row's visual tokens can be asked for, if all rows keep as many."""
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.zeros_like(case.batch.visual)
    for row, visual in enumerate(case.batch.visual):
        places = torch.nonzero(visual).flatten()
        wanted[row, places[torch.randperm(len(places), generator=generator)[: case.pruner.keep]]] = True
    out = case.prefill(EntropyPrune(case.pruner.layer, case.pruner.keep, scorer=GivenTokens(wanted), over_images="all"))
    assert torch.equal(out.kept, wanted | ~case.batch.visual)


@given(cases())
def test_generate_takes_the_likeliest_word_of_a_masked_forward_pass_at_every_step(case: Case) -> None:
    """Greedy decoding with prefill pruned, without a cache in the comparison."""
    inputs = {"images": case.batch.images, "questions": case.batch.ids, "attended": case.batch.attended}
    answer = case.model.generate(**inputs, pruner=case.pruner, max_new_tokens=5)
    rows = torch.arange(len(case.batch.ids))
    places = torch.arange(case.batch.ids.shape[1])
    # the last word of the prompt that is left; it may be a kept visual token
    left = answer.prefill.kept & case.batch.attended
    last = torch.where(left, places, -1).amax(dim=1)
    for step in range(answer.tokens.shape[1]):
        more = answer.tokens[:, :step]
        state = masked_states(case.model, case.batch, answer.prefill.kept, case.pruner.layer, more)[-1]
        place = last if step == 0 else torch.full_like(last, state.shape[1] - 1)
        logits = case.model.lm_head(case.model.decoder.norm(state))[rows, place]
        chosen = logits[rows, answer.tokens[:, step]]
        torch.testing.assert_close(chosen, logits.amax(dim=-1), **ROUNDING)


def test_generate_leaves_the_cache_of_its_prefill_as_it_was() -> None:
    model, batch = random_llava(tiny_config()), make_batch([[2, -1, 1]], tiny_config(), 0)
    answer = model.generate(batch.images, batch.ids, pruner=EntropyPrune(1, 4), max_new_tokens=4)
    cache: Cache = answer.prefill.cache
    assert cache.lengths() == [12, 7, 7]
    assert [span.attended.shape[1] for span in cache.spans] == [12, 7]
    assert cache.next_positions.tolist() == [12]


def test_pruned_prefill_by_hand() -> None:
    """Two words, an image of nine tokens, one word; tokens 1, 4 and 8 of the image are kept from layer 2 on."""
    model, batch = random_llava(tiny_config()), make_batch([[2, -1, 1]], tiny_config(), 0)
    kept = torch.zeros(1, 12, dtype=torch.bool)
    kept[0, [3, 6, 10]] = True
    out = model(batch.images, batch.ids, pruner=EntropyPrune(2, 3, scorer=GivenTokens(kept)))
    assert out.index.tolist() == [[0, 1, 3, 6, 10, 11]]
    assert out.positions.tolist() == [[0, 1, 3, 6, 10, 11]]
    assert out.kept_visual()[0].tolist() == [1, 4, 8]
    assert out.logits.shape == (1, 6, 12)
    assert out.cache.lengths() == [12, 12, 6]
    assert out.cache.next_positions.tolist() == [12]


def test_the_default_scorer_is_the_method_with_the_convention_of_the_paper() -> None:
    config = tiny_config()
    model, batch = random_llava(config), make_batch([[2, -1, 1], [-1, 3]], config, 0)
    inputs = {"images": batch.images, "questions": batch.ids, "attended": batch.attended}
    chosen = [
        model(**inputs, pruner=EntropyPrune(1, 4, **choice)).kept
        for choice in ({}, {"convention": PAPER}, {"scorer": EntropyScorer(PAPER)})
    ]
    assert torch.equal(chosen[0], chosen[1]) and torch.equal(chosen[0], chosen[2])


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
def test_each_convention_scores_as_its_scorer(convention) -> None:
    config = tiny_config()
    model, batch = random_llava(config), make_batch([[2, -1, 1], [-1, 3]], config, 0)
    inputs = {"images": batch.images, "questions": batch.ids, "attended": batch.attended}
    one = model(**inputs, pruner=EntropyPrune(1, 4, convention=convention)).kept
    assert torch.equal(one, model(**inputs, pruner=EntropyPrune(1, 4, scorer=EntropyScorer(convention))).kept)


@pytest.mark.parametrize("over_images", ["each", "all"])
@pytest.mark.parametrize("scorer", RIVALS.values(), ids=RIVALS)
def test_every_rival_prunes_a_padded_batch_as_it_prunes_its_rows(scorer: Scorer, over_images) -> None:
    """Rows of two, one and three images, padded anywhere: a rival keeps the same tokens with and without company."""
    config = tiny_config(heads=6, kv_heads=3)
    model = random_llava(config)
    batch = make_batch([[2, -1, 1, -1, 1], [-1, 4], [1, -1, -1, 1, -1, 2]], config, 0)
    pruner = EntropyPrune(2, ratio=0.6, scorer=scorer, over_images=over_images)
    out = model(batch.images, batch.ids, attended=batch.attended, pruner=pruner)
    assert [len(kept) for kept in out.kept_visual()] == [7, 3, 10]  # 40 % of 18, 9 and 27, rounded down
    for row in range(3):
        alone = batch.alone(row)
        single = model(alone.images, alone.ids, pruner=pruner)
        assert torch.equal(out.kept_visual()[row], single.kept_visual()[0])
        torch.testing.assert_close(out.logits[row, out.attended[row]], single.logits[0], **ROUNDING)


def test_an_infeasible_average_may_lower_the_prune_layer() -> None:
    """An average of 4 of 9 tokens over 3 layers is infeasible at layer 2 (18 of 12 are spent), and 1 at layer 1."""
    config = tiny_config()
    model, batch = random_llava(config), make_batch([[2, -1, 1], [-1, 3]], config, 0)
    out = model(
        batch.images, batch.ids, attended=batch.attended, pruner=EntropyPrune(2, average=4, lower_prune_layer=True)
    )
    assert out.cache.lengths() == [12, 4, 4]
    assert [len(kept) for kept in out.kept_visual()] == [1, 1]


def test_over_all_images_tokens_compete_and_over_each_they_do_not() -> None:
    """A scorer that prefers the second image: "all" takes from it alone, "each" takes half."""

    def later_first(view: LayerView) -> Tensor:
        return view.image_index.double()

    config = tiny_config()
    model, batch = random_llava(config), make_batch([[1, -1, 1, -1, 1]], config, 0)
    kept = {
        policy: model(
            batch.images, batch.ids, pruner=EntropyPrune(1, 6, scorer=later_first, over_images=policy)
        ).kept_visual()[0]
        for policy in ("each", "all")
    }
    assert kept["each"].tolist() == [0, 1, 2, 9, 10, 11]
    assert kept["all"].tolist() == [9, 10, 11, 12, 13, 14]


def test_filler_of_a_row_that_drops_more_is_masked_out() -> None:
    """Rows that keep 2 of 9 and 4 of 18 tokens at the same sequence length: the first row has slots left over."""
    config = tiny_config()
    model, batch = random_llava(config), make_batch([[5, -1, 8], [2, -1, -1, 2]], config, 0)
    out = model(batch.images, batch.ids, attended=batch.attended, pruner=EntropyPrune(1, ratio=0.8))
    assert batch.attended.all() and out.attended.sum(dim=1).tolist() == [13 + 1, 4 + 3]
    assert out.attended.shape[1] == 14 and not out.attended[1, :7].any() and out.attended[1, 7:].all()


def test_prompts_without_an_image_stay_whole() -> None:
    """Beside a row that is pruned, and alone: nothing of them is dropped, and their logits are the unpruned ones."""
    model, pruner = random_llava(tiny_config()), EntropyPrune(1, 2)
    batch = make_batch([[1, -1, 2], [4]], model.config, 0)
    out = model(batch.images, batch.ids, attended=batch.attended, pruner=pruner)
    assert out.kept[0].sum() == 2 + batch.ids.shape[1] - 9 and out.kept[1].all()
    plain = model(batch.images, batch.ids, attended=batch.attended)
    words = batch.attended[1]
    torch.testing.assert_close(out.logits[1][out.attended[1]], plain.logits[1][words], **ROUNDING)
    alone = batch.alone(1)
    assert torch.equal(model(None, alone.ids, pruner=pruner).logits, model(None, alone.ids).logits)
