"""The contract of a whole pruned prefill: its prompts, its two decoders, what it must catch and what it must not."""

import json
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from entropyprune_ref.llava.attention import causal_mask
from entropyprune_ref.oracle import CONTRACTS, SIZES, check, replay
from entropyprune_ref.oracle.bugs import MUTANTS, Mutant
from entropyprune_ref.oracle.contracts.prefill import STATEMENTS
from entropyprune_ref.oracle.inputs.case import Case, Setting
from entropyprune_ref.oracle.inputs.prompts import FAMILIES, Prompt, build, prompts
from entropyprune_ref.oracle.judging.trying import judged
from entropyprune_ref.oracle.plain.decoder import decoder_layer, masked_run, pruned_run
from entropyprune_ref.oracle.plain.prefill import PrunedPrefill, pruned_prefill
from entropyprune_ref.oracle.trial.failure import Failure
from entropyprune_ref.oracle.trial.trial import STRUCTURE
from entropyprune_ref.scoring import CONVENTIONS, PAPER
from tests.oracle.broken import broken
from tests.oracle.prefill_variants import by_llava, by_numpy, by_plain_run, llava_decoder

SIZE = os.environ.get("ORACLE_SIZE", "quick")
# Float64, at most four layers, sums of at most 30 terms in two orders: each step is off by less than 1e-14.
ROUNDING = {"rtol": 1e-10, "atol": 1e-10}
LAWS = {law.name: law for law in CONTRACTS["pruned_prefill"].laws}
WRONG = {mutant.name: mutant for mutant in MUTANTS if mutant.contract == "pruned_prefill"}


def drawn(*families: str) -> st.SearchStrategy[Case]:
    keep, steps = st.sampled_from(["some", "all", "none"]), st.booleans()
    return st.tuples(st.sampled_from(families), keep, steps).flatmap(
        lambda choice: prompts(choice[0], keep=choice[1], steps=choice[2])
    )


def remaining(prompt: Prompt) -> Tensor:
    """The injected choice as a mask over prompt and continuation."""
    mask = torch.zeros(len(prompt.attended) + len(prompt.continuation), dtype=torch.bool)
    mask[len(prompt.attended) :] = True
    return mask.index_fill(0, prompt.injected, True)


def ran(run: Callable[..., Any], prompt: Prompt, **options: Any) -> Any:
    embeddings, positions, attended = prompt.whole()
    arguments = (prompt.prune_layer, remaining(prompt), attended, prompt.sizes)
    return run(prompt.weights, embeddings, positions, *arguments, **options)


# the prompts


@given(drawn(*FAMILIES))
def test_prompts_are_what_their_family_says(case: Case) -> None:
    prompt = build(case, torch.float64)
    sizes, seen, images = prompt.sizes, prompt.attended, prompt.image_sizes
    traits = {
        "several images": len(images) > 1,
        "padded": not bool(seen.all()),
        "grouped queries": sizes["kv_heads"] < sizes["heads"],
        "given positions": prompt.positions[seen].tolist() != list(range(int(seen.sum()))),
    }
    if case.family in traits and case.family != "given positions":
        assert traits[case.family]
    if case.family != "mixed":
        assert not any(present for trait, present in traits.items() if trait != case.family)
    assert 1 <= prompt.prune_layer < sizes["layers"] and 0 <= prompt.keep <= sum(images)
    assert bool(prompt.text.any()) and min(images, default=2) >= 2
    assert (not images) == (case.family == "no image")
    assert (prompt.image_index[~seen] == -1).all()
    assert (prompt.positions >= 0).all() and (prompt.positions[seen].diff() > 0).all()
    assert (prompt.positions <= prompt.positions[seen].max()).all()
    assert torch.equal(prompt.injected, prompt.injected.unique())
    chosen = torch.zeros_like(seen).index_fill(0, prompt.injected, True)
    assert chosen[prompt.text].all() and not chosen[~seen].any()
    assert int((prompt.image_index[prompt.injected] >= 0).sum()) == prompt.keep


@given(st.sampled_from([torch.float64, torch.float32]), drawn(*FAMILIES))
def test_a_case_is_plain_numbers_that_always_build_the_same_prompt(dtype: torch.dtype, case: Case) -> None:
    again = Case(case.family, json.loads(json.dumps(dict(case.numbers))))
    one, other = build(case, dtype), build(again, dtype)
    assert one.embeddings.dtype == dtype
    assert one.weights.keys() == other.weights.keys() and all(
        torch.equal(weight, other.weights[name]) and weight.dtype == dtype for name, weight in one.weights.items()
    )
    for name in ("embeddings", "positions", "image_index", "attended", "injected", "continuation"):
        assert torch.equal(getattr(one, name), getattr(other, name))


NUMBERS = {
    "layers": 3, "hidden": 8, "heads": 4, "kv_heads": 2, "head_dim": 4, "mlp": 6, "vocabulary": 5,
    "rope_theta": 100.0, "norm_eps": 1e-5, "layout": [1, -3, 2], "padding": [0, 2, 6], "start": 5, "stride": 1,
    "prune_layer": 1, "keep": 2, "steps": 2, "seed": 0,
}  # fmt: skip


def test_build_by_hand() -> None:
    """A word, an image of three, two words; padding in front, within the image, and behind."""
    prompt = build(Case("mixed", NUMBERS), torch.float32)
    assert prompt.image_index.tolist() == [-1, -1, 0, -1, 0, 0, -1, -1, -1]
    assert prompt.attended.int().tolist() == [0, 1, 1, 0, 1, 1, 1, 1, 0]
    assert prompt.positions[prompt.attended].tolist() == [5, 6, 7, 8, 9, 10]
    assert prompt.whole()[1][-2:].tolist() == [11, 12]
    assert prompt.continuation.shape == (2, 8)


WRONG_NUMBERS: list[dict[str, Any]] = [
    {"layout": None}, {"layout": []}, {"layout": [-3]}, {"seed": "x"}, {"heads": "many"}, {"keep": 4},
    {"prune_layer": 3},
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG_NUMBERS, ids=str)
def test_build_refuses_numbers_that_describe_no_prompt(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="numbers must describe a prompt"):
        build(Case("mixed", NUMBERS | change), torch.float64)
    with pytest.raises(ValueError, match="numbers must describe a prompt"):
        build(Case("mixed", {name: value for name, value in NUMBERS.items() if name not in change}), torch.float64)
    with pytest.raises(ValueError, match="family must be one of"):
        build(Case("unheard of", NUMBERS), torch.float64)


@given(drawn("mixed"), st.sampled_from([torch.float64, torch.float32]))
def test_shaken_prompts_are_off_by_no_more_than_rounding(case: Case, dtype: torch.dtype) -> None:
    """At least by half a unit everywhere, so that no rounding is left out; at most by one for each term of a sum."""
    prompt = build(case, dtype)
    shaken = prompt.shaken(dtype, 0)
    sizes, tokens = prompt.sizes, len(prompt.embeddings) + len(prompt.continuation)
    longest = max(sizes["heads"] * sizes["head_dim"], sizes["hidden"], sizes["mlp"], tokens) + 9
    eps, angle = torch.finfo(dtype).eps, torch.finfo(torch.float32).eps
    for name, weight in prompt.weights.items():
        off = (shaken.weights[name] / weight.double() - 1).abs()
        turned = "q_proj" in name or "k_proj" in name
        assert eps / 2 < off.min() and off.max() <= longest * eps / 2 + (5 * angle if turned else 0)
    assert (shaken.positions - prompt.positions).abs().max() <= 5 * angle * prompt.positions.max()


# the two decoders, and pruning


@given(drawn(*FAMILIES))
def test_the_two_decoders_agree(case: Case) -> None:
    """The plain decoder and that of `entropyprune_ref.llava`, masked alike, over the whole sequence."""
    prompt = build(case, torch.float64)
    embeddings, positions, attended = prompt.whole()
    decoder = llava_decoder(prompt.weights, prompt.sizes)
    layers = [range(prompt.prune_layer), range(prompt.prune_layer, prompt.sizes["layers"])]
    hidden, queries = embeddings[None], None
    for stretch, seen in zip(layers, (attended, attended & remaining(prompt)), strict=True):
        trace = decoder(hidden, positions[None], causal_mask(seen[None], len(seen), hidden.device), stretch)
        hidden, queries = trace.hidden, trace.queries if queries is None else queries
    logits = decoder.norm(hidden)[0] @ prompt.weights["lm_head.weight"].mT
    plain = ran(masked_run, prompt, angles=torch.float32)
    torch.testing.assert_close(plain.logits, logits[remaining(prompt)], **ROUNDING)
    torch.testing.assert_close(plain.queries[attended], queries[0].transpose(0, 1)[attended], **ROUNDING)


@given(drawn(*FAMILIES))
def test_pruned_run_is_masked_run(case: Case) -> None:
    prompt = build(case, torch.float64)
    masked, pruned = ran(masked_run, prompt, angles=torch.float32), ran(pruned_run, prompt)
    torch.testing.assert_close(pruned.logits, masked.logits, **ROUNDING)
    torch.testing.assert_close(pruned.queries, masked.queries, **ROUNDING)


def test_masked_run_by_hand() -> None:
    """One layer that drops, one head, identity weights, and a value that tells whom a token looked at.

    Queries and keys are zero, so attention is uniform over what is visible: of the tokens (1, 0), (0, 1), (1, 0), after
    norm (root 2 times each), the last sees (1, 0) and itself in layer 1, since the second is dropped.
    """
    zero, one = torch.zeros(2, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    kinds = {"q": zero, "k": zero, "v": one, "o": one}
    weights = {"norm.weight": torch.ones(2, dtype=torch.float64), "lm_head.weight": one}
    for number in range(2):
        for kind, matrix in kinds.items():
            weights[f"layers.{number}.self_attn.{kind}_proj.weight"] = matrix if number else zero
        for kind in ("gate", "up", "down"):
            weights[f"layers.{number}.mlp.{kind}_proj.weight"] = zero
        for kind in ("input", "post_attention"):
            weights[f"layers.{number}.{kind}_layernorm.weight"] = torch.ones(2, dtype=torch.float64)
    sizes = {"layers": 2, "heads": 1, "kv_heads": 1, "head_dim": 2, "norm_eps": 0.0, "rope_theta": 10.0}
    seen, kept = torch.ones(3, dtype=torch.bool), torch.tensor([True, False, True])
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    for run in (masked_run, pruned_run):
        logits = run(weights, embeddings, torch.arange(3), 1, kept, seen, sizes).logits
        torch.testing.assert_close(logits, 2**0.5 * embeddings[kept])  # not a trace of (0, 1)
    whole = masked_run(weights, embeddings, torch.arange(3), 1, seen, seen, sizes).logits[2]
    # state (1 + 2/3 root 2, 1/3 root 2), to root mean square 1
    state = torch.tensor([1 + 2 / 3 * 2**0.5, 2**0.5 / 3], dtype=torch.float64)
    torch.testing.assert_close(whole, state / state.square().mean().sqrt())


# correct prefills never fail


class ExactAngles(PrunedPrefill):
    """Cosine and sine of the prompt in float64, not in float32 as in public checkpoints."""

    def prompt_layer(self, number: int, hidden: Tensor, positions: Tensor, visible: Tensor, seen: Tensor) -> Tensor:
        mixed = decoder_layer(self.weights, number, hidden, positions, visible, self.sizes, angles=torch.float64)
        self.queries[number], self.cache[number], self.seen[number] = mixed.queries, (mixed.keys, mixed.values), seen
        return mixed.hidden


class ScoredBeforeRotary(PrunedPrefill):
    """A rotation of all heads of a token alike does not change its entropy."""

    def scored_queries(self, hidden: Tensor) -> Tensor:
        """The queries turned back to position zero."""
        return self.unturned

    def prompt_layer(self, number: int, hidden: Tensor, positions: Tensor, visible: Tensor, seen: Tensor) -> Tensor:
        origin = torch.zeros_like(positions)
        if number == self.prune_layer - 1:
            self.unturned = decoder_layer(self.weights, number, hidden, origin, visible, self.sizes).queries
        return super().prompt_layer(number, hidden, positions, visible, seen)


VARIANTS: dict[str, Callable[..., Any]] = {
    "with a cache": pruned_prefill,
    "llava": by_llava,
    "llava, fused attention": partial(by_llava, attention="fused"),
    "without a cache": by_plain_run,
    "angles in float64": lambda *arguments, **options: ExactAngles(*arguments, **options).run(),
    "scored before rotary": lambda *arguments, **options: ScoredBeforeRotary(*arguments, **options).run(),
}


BOTH = ["float64", "float32"]
IN_SHORT = [  # what the whole suite has time for; the others differ in what the dtype does not touch
    ("with a cache", "float64"),
    ("angles in float64", "float64"),
    ("scored before rotary", "float64"),
    ("llava", "float32"),
    ("llava, fused attention", "float32"),
    ("without a cache", "float32"),
]


@pytest.mark.parametrize(
    ("variant", "dtype"), IN_SHORT if SIZE == "quick" else [(variant, dtype) for variant in VARIANTS for dtype in BOTH]
)
def test_correct_prefills_never_fail(variant: str, dtype: str) -> None:
    if SIZE != "quick" or variant == "with a cache":
        report = check("pruned_prefill", VARIANTS[variant], dtype=dtype, size=SIZE)
        assert report.passed, str(report)
    for law in ("injected decoding", "given positions", "padding", "several images", "end to end"):
        setting = Setting("pruned_prefill", dtype=getattr(torch, dtype))
        assert judged(LAWS[law], VARIANTS[variant], setting, SIZES["quick"]).failure is None


@pytest.mark.parametrize("dtype", ["float32"] if SIZE == "quick" else BOTH)
def test_a_correct_prefill_in_numpy_never_fails(dtype: str) -> None:
    if SIZE != "quick":
        report = check("pruned_prefill", by_numpy, dtype=dtype, arrays="numpy", size=SIZE)
        assert report.passed, str(report)
    for law in ("injected decoding", "several images", "end to end"):
        setting = Setting("pruned_prefill", dtype=getattr(torch, dtype), arrays="numpy")
        assert judged(LAWS[law], by_numpy, setting, SIZES["quick"]).failure is None


@pytest.mark.parametrize("dtype", ["float32"] if SIZE == "quick" else BOTH)
@pytest.mark.parametrize("convention", [name for name in CONVENTIONS if name != PAPER.name])
def test_a_correct_prefill_in_another_convention_never_fails(convention: str, dtype: str) -> None:
    candidate = partial(by_llava, convention=CONVENTIONS[convention])
    if SIZE != "quick":
        report = check("pruned_prefill", candidate, convention=convention, dtype=dtype, size=SIZE)
        assert report.passed, str(report)
    for law in ("own selection", "real sizes", "several images", "end to end"):
        setting = Setting("pruned_prefill", CONVENTIONS[convention], getattr(torch, dtype))
        assert judged(LAWS[law], candidate, setting, SIZES["quick"]).failure is None


# wrong ones do

UNDER = {
    "pruned one layer early": ("injected prefill", "injected prefill"),
    "pruned one layer late": ("injected prefill", "injected prefill"),
    "queries of the first layer": ("own selection", "own selection"),
    "queries of the prune layer": ("own selection", "own selection"),
    "keys scored in place of queries": ("own selection", "own selection"),
    "one query head of each group scored": ("grouped queries", "grouped queries"),
    "scored by the norm of the hidden state": ("own selection", "own selection"),
    "released passed off as paper": ("own selection", "own selection"),
    "row-normalised passed off as paper": ("own selection", "own selection"),
    "paper passed off as released": ("own selection", "own selection"),
    "keeps the lowest": ("own selection", "own selection"),
    "one token too many": ("budget", "budget"),
    "all but one taken for all": ("keep all", "budget"),
    "words compete with visual tokens": ("text stays", "text stays"),
    "second image ignored: kept whole": ("several images", "budget"),
    "second image ignored: budget spent on the first": ("several images", "several images"),
    "budget left over given to the last image": ("several images", "several images"),
    "images compete for the budget": ("several images", "several images"),
    "a budget of none taken for no budget": ("keep none", "budget"),
    "padding remains": ("padding", "padding"),
    "remaining indices by score": ("remaining indices", "remaining indices"),
    "remaining indices renumbered": ("text stays", "text stays"),
    "positions renumbered after pruning": ("injected prefill", "injected prefill"),
    "positions of the first tokens after pruning": ("injected prefill", "injected prefill"),
    "decoding from position T + k": ("injected decoding", "injected decoding"),
    "decoding from the length of the prompt": ("given positions", "given positions"),
    "decoding from the last position": ("injected decoding", "injected decoding"),
    "stale mask: that of the prompt, cut to length": ("mask", "mask"),
    "no causal mask after pruning": ("injected prefill", "injected prefill"),
    "padding attended in prefill": ("mask", "mask"),
    "padding attended in decoding": ("mask", "mask"),
    "dropped tokens zeroed in place of removed": ("injected prefill", "injected prefill"),
    "last token of the prompt cached twice": ("injected decoding", "injected decoding"),
    "cache of the layer before the prune layer doubled": ("injected decoding", "injected decoding"),
    "decoded tokens cached twice": ("injected decoding", "injected decoding"),
    "decoded tokens not cached": ("injected decoding", "injected decoding"),
    "pruned again while decoding": ("injected decoding", "injected decoding"),
    "caches before the prune layer shortened too": ("injected decoding", "injected decoding"),
    "key/value heads interleaved": ("grouped queries", "grouped queries"),
    "rotary base taken for granted": ("given positions", "given positions"),
    "norm epsilon taken for granted": ("end to end", "end to end"),
    "given selection not minded": ("injected prefill", "injected prefill"),
}
"""For every mutant, a law under which it is caught, and the law that it is then said to have broken."""

SPARED = {
    "decoding from position T + k": {"injected prefill", "keep all"},
    "decoding from the length of the prompt": {"injected decoding", "keep none"},
    "stale mask: that of the prompt, cut to length": {"injected prefill", "given positions", "several images"},
    "padding attended in decoding": {"injected decoding", "padding"},
    "padding remains": {"mask", "own selection"},
    "key/value heads interleaved": {"injected decoding", "mask"},
    "second image ignored: budget spent on the first": {"own selection", "keep all"},
    "queries of the first layer": {"injected prefill", "keep none"},
    "rotary base taken for granted": {"injected decoding", "grouped queries"},
    "decoded tokens cached twice": {"injected prefill", "own selection"},
}
"""Laws on prompts in which a bug cannot show: there the mutant is right, and the report points at the bug."""


def verdict(mutant: Mutant, law: str) -> tuple[str, str] | None:
    """The law under which the mutant broke, and which it broke; `None` if it holds. The cases are those of `check`."""
    setting = Setting("pruned_prefill", mutant.convention)
    return _outcome(judged(LAWS[law], mutant.implementation, setting, 12, shrink=False).failure)


def _outcome(failure: Failure | None) -> tuple[str, str] | None:
    return None if failure is None else (failure.under, failure.law)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", WRONG)
def test_every_wrong_prefill_is_caught_by_the_law_that_it_breaks(name: str, dtype: torch.dtype) -> None:
    setting = Setting("pruned_prefill", WRONG[name].convention, dtype)
    assert _outcome(broken(LAWS[UNDER[name][0]], WRONG[name].implementation, setting, 12)) == UNDER[name]


@pytest.mark.parametrize("name", SPARED)
def test_a_bug_breaks_no_law_about_prompts_in_which_it_cannot_show(name: str) -> None:
    assert {law: verdict(WRONG[name], law) for law in SPARED[name]} == dict.fromkeys(SPARED[name])


def windowed(number: int) -> type[PrunedPrefill]:
    """Nobody looks further back than `number` tokens."""

    class Windowed(PrunedPrefill):
        def prompt_layer(self, layer: int, hidden: Tensor, positions: Tensor, visible: Tensor, seen: Tensor) -> Tensor:
            near = torch.ones_like(visible).triu(1 - number)
            return super().prompt_layer(layer, hidden, positions, visible & near, seen)

    return Windowed


class RotaryInBfloat16(PrunedPrefill):
    def __init__(self, weights: Any, embeddings: Tensor, positions: Tensor, *arguments: Any, **options: Any) -> None:
        super().__init__(weights, embeddings, positions.bfloat16().long(), *arguments, **options)


class RotaryTable(PrunedPrefill):
    """Behind its end the last entry is taken."""

    def __init__(self, weights: Any, embeddings: Tensor, positions: Tensor, *arguments: Any, **options: Any) -> None:
        super().__init__(weights, embeddings, positions.clamp(max=255), *arguments, **options)


class EightLayers(PrunedPrefill):
    def __init__(self, *arguments: Any, sizes: Any, **options: Any) -> None:
        super().__init__(*arguments, sizes=sizes | {"layers": min(8, sizes["layers"])}, **options)


class MemoryOrder(PrunedPrefill):
    def __init__(self, weights: Any, *arguments: Any, **options: Any) -> None:
        flat = {name: w.as_strided(w.shape, torch.empty(w.shape).stride()) for name, w in weights.items()}
        super().__init__(flat, *arguments, **options)


class NeedsAnImage(PrunedPrefill):
    def select(self, scores: Tensor) -> Tensor:
        return super().select(scores) if (self.image_index >= 0).any() else torch.arange(0)


NOT_ENTERED: dict[str, list[type[PrunedPrefill]]] = {
    "real sizes": [windowed(64), windowed(128), RotaryInBfloat16, RotaryTable, EightLayers],
    "views": [MemoryOrder],
    "no image": [NeedsAnImage],
}
"""Bugs that show only in large decoders and prompts, in views, or without an image, by the law that they break."""


@pytest.mark.parametrize("law", NOT_ENTERED)
def test_bugs_of_size_and_layout_break_the_law_that_is_about_them(law: str) -> None:
    for wrong in NOT_ENTERED[law]:
        setting = Setting("pruned_prefill")
        run = lambda *arguments, wrong=wrong, **options: wrong(*arguments, **options).run()  # noqa: E731
        assert broken(LAWS[law], run, setting, 12) is not None, wrong


def test_every_law_can_fail() -> None:
    assert UNDER.keys() == WRONG.keys()
    assert {under for under, _ in UNDER.values()} | NOT_ENTERED.keys() == LAWS.keys() == STATEMENTS.keys()
    assert {law for _, law in UNDER.values()} <= LAWS.keys()


# whatever a candidate does is reported


def answering(change: Callable[[Tensor, Tensor], Any]) -> Callable[..., Any]:
    return lambda *arguments, **options: change(*pruned_prefill(*arguments, **options))


def forgetting(weights: dict[str, Tensor], *arguments: Any, **options: Any) -> Any:
    result = pruned_prefill(weights, *arguments, **options)
    weights["norm.weight"] *= 2
    return result


MISBEHAVIOUR: dict[str, tuple[Callable[..., Any], str, str]] = {
    "nothing": (answering(lambda kept, logits: None), "kind", "result must be a pair .kept, logits., got NoneType"),
    "a triple": (answering(lambda kept, logits: (kept, logits, 1)), "kind", "must be a pair"),
    "a string": (
        answering(lambda kept, logits: ("kept", logits)),
        "kind",
        "kept must be an array or a number, got str",
    ),
    "a mask": (answering(lambda kept, logits: (kept >= 0, logits)), "dtype", "kept must have an integer dtype"),
    "floats": (answering(lambda kept, logits: (kept.double(), logits)), "dtype", "kept must have an integer dtype"),
    "one number": (answering(lambda kept, logits: (3, logits)), "shape", "kept must have shape"),
    "a batch": (answering(lambda kept, logits: (kept[None], logits[None])), "shape", "kept must have shape"),
    "twice the same": (
        answering(lambda kept, logits: (kept[[0, *range(len(kept) - 1)]], logits)),
        "remaining indices",
        "must be strictly ascending, got",
    ),
    "out of range": (
        answering(lambda kept, logits: (kept + 10**12, logits)),
        "remaining indices",
        r"must lie in 0 \.\.\. \d+, got \[100000",
    ),
    "negative": (answering(lambda kept, logits: (kept - 1, logits)), "remaining indices", "must lie in 0"),
    "last logits only": (answering(lambda kept, logits: (kept, logits[-1:])), "shape", "logits must have shape"),
    "whole numbers": (answering(lambda kept, logits: (kept, logits.long())), "dtype", "a real floating dtype"),
    "NaN": (answering(lambda kept, logits: (kept, logits * torch.nan)), "finite", "logits must be finite"),
    "nothing kept": (answering(lambda kept, logits: (kept[:0], logits[:0])), "text stays", "words at .* must remain"),
    "exits": (lambda *arguments, **options: sys.exit(1), "returns", "raised SystemExit"),
    "writes": (forgetting, "input unchanged", "wrote to its input"),
}


@pytest.mark.parametrize("how", MISBEHAVIOUR)
def test_whatever_a_prefill_returns_is_reported_and_no_crash(how: str) -> None:
    candidate, law, message = MISBEHAVIOUR[how]
    under = LAWS["text stays"]
    failure = judged(under, candidate, Setting("pruned_prefill"), 12, shrink=False).failure
    assert failure is not None and failure.law == law
    assert re.search(message, failure.message), failure.message
    assert failure.statement == (STATEMENTS | STRUCTURE)[law]


def test_a_failure_says_which_tokens_were_to_remain_and_is_replayed_from_its_numbers() -> None:
    wrong = WRONG["keeps the lowest"].implementation
    failure = judged(LAWS["own selection"], wrong, Setting("pruned_prefill"), 12).failure
    assert failure is not None and failure.resembles in ((), ("keeps the lowest",))
    assert "of image 0" in failure.message and "must remain" in failure.message
    with pytest.raises(AssertionError, match="must remain"):
        replay("pruned_prefill", wrong, failure.under, failure.family, failure.numbers)
    replay("pruned_prefill", pruned_prefill, failure.under, failure.family, failure.numbers)
    # the smallest case: two layers, two visual tokens of which one is kept
    assert failure.numbers["layers"] == 2 and failure.numbers["keep"] == 1
    assert [part for part in failure.numbers["layout"] if part < 0] == [-2]


def test_16_bit_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="dtype must be one of float64, float32 for pruned_prefill, got float16"):
        check("pruned_prefill", pruned_prefill, dtype="float16")
