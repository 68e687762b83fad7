"""Contract of section 6: FLOPs of a prompt, pruned and not, as exact integers."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ...flops import LLAVA_1_5_7B, LLAVA_1_5_13B, QWEN_2_5_VL_7B, DecoderSize, prefill_flops, pruned_prefill_flops
from ..inputs.case import Case, Draw
from ..inputs.sizes import rungs, sizes
from ..trial.answers import shown, whole_number
from ..trial.trial import Trial
from .contract import Contract, Law, Named

_SIZE = {
    "layers": "L, decoder layers",
    "hidden": "d, hidden size",
    "heads": "h, query heads",
    "kv_heads": "key/value heads",
    "head_dim": "d_h, features of a head; heads * head_dim need not be hidden",
    "mlp": "m, inner size of the MLP",
    "mlp_matrices": "matrices of the MLP: 3 for a gated one",
    "vocabulary": "rows of the language-model head",
}
SIZES = tuple(name for name in _SIZE if name != "vocabulary")
_PROMPT = {
    "text_tokens": "T, text tokens in the prompt",
    "visual_tokens": "N, visual tokens in the prompt",
    "attention": "'full': all n * n pairs count; 'causal': n (n + 1) / 2; 'none': linear layers only",
    "lm_head": "positions that the language-model head is applied to: 'none', 'last' or 'all'",
}


def _numbers(size: DecoderSize) -> dict[str, int]:
    return {name: getattr(size, name) for name in SIZES}


@st.composite
def _prompts(draw: Draw, *, pruned: bool, grouped: bool = False, free: bool = False, matrices: int = 0) -> Case:
    """A decoder of any size and a prompt.

    Args:
        draw: From hypothesis.
        pruned: Whether it is pruned.
        grouped: Whether several query heads share a key/value head.
        free: Whether heads need not fill the hidden size.
        matrices: Number of matrices of the MLP; 0 for either two or three.
    """
    kv_heads, shared = draw(st.integers(1, 4), label="kv_heads"), draw(st.integers(2, 4), label="shared by")
    heads, head_dim = kv_heads * (shared if grouped else 1), draw(st.integers(1, 64), label="head_dim")
    layers = draw(st.one_of(st.integers(2, 40), rungs(129, 2)), label="layers")
    visual = draw(st.one_of(st.integers(0, 3000), sizes()), label="visual tokens")
    numbers: dict[str, Any] = {
        "text_tokens": draw(st.integers(0, 300), label="text tokens"),
        "visual_tokens": visual,
        "layers": layers,
        "hidden": draw(st.integers(1, 300), label="hidden") if free else heads * head_dim,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "mlp": draw(st.integers(1, 1000), label="mlp"),
        "mlp_matrices": matrices or draw(st.sampled_from([3, 2]), label="mlp matrices"),
    }
    if pruned:
        numbers["prune_layer"] = draw(st.integers(1, layers - 1), label="prune layer")
        numbers["keep"] = draw(st.integers(0, visual), label="keep")
    return Case("prompt", numbers)


SMALL_QWEN = DecoderSize(layers=24, hidden=896, heads=14, kv_heads=2, head_dim=64, mlp=4864, vocabulary=151_936)
LARGE_QWEN = DecoderSize(layers=80, hidden=8192, heads=64, kv_heads=8, head_dim=128, mlp=29_568, vocabulary=152_064)
"""Of 0.5B and 72B parameters."""

LARGEST = DecoderSize(layers=126, hidden=16_384, heads=128, kv_heads=8, head_dim=128, mlp=53_248, vocabulary=128_256)
WIDE_HEADS = DecoderSize(layers=46, hidden=4608, heads=32, kv_heads=16, head_dim=256, mlp=36_864, vocabulary=256_000)
"""Of 405B and 27B parameters."""

ODD = DecoderSize(
    layers=77, hidden=3301, heads=151, kv_heads=151, head_dim=173, mlp=2777, vocabulary=99, mlp_matrices=2
)
"""Of no model: no size is a multiple of a block."""


def _real_prompts() -> list[Case]:
    """Decoders of 0.5B to 405B and up to a million tokens, where totals exceed what 32 bits and floats hold exactly."""
    prompts: list[dict[str, int]] = [
        {"text_tokens": 35, "visual_tokens": 576},
        {"text_tokens": 81, "visual_tokens": 576, "prune_layer": 2, "keep": 98},
        {"text_tokens": 64, "visual_tokens": 2880, "prune_layer": 2, "keep": 490},
        {"text_tokens": 199, "visual_tokens": 23_040, "prune_layer": 1, "keep": 5761},
        {"text_tokens": 70_001, "visual_tokens": 0},
        {"text_tokens": 7, "visual_tokens": 999_994, "prune_layer": 3, "keep": 111_111},
    ]
    models = (LLAVA_1_5_7B, LLAVA_1_5_13B, QWEN_2_5_VL_7B, SMALL_QWEN, LARGE_QWEN, LARGEST, WIDE_HEADS, ODD)
    late = {"text_tokens": 3001, "visual_tokens": 999_999, "prune_layer": 76, "keep": 333_333}
    cases = [Case("prompt", _numbers(size) | prompt) for prompt in prompts for size in models]
    return [*cases, Case("prompt", _numbers(ODD) | late)]


def _smallest() -> SearchStrategy[Case]:
    """One token and every size 1, in two layers: 36 FLOPs, to be counted by hand."""
    numbers = dict.fromkeys(SIZES, 1) | {"layers": 2, "mlp_matrices": 3, "text_tokens": 1, "visual_tokens": 0}
    return st.just(Case("prompt", numbers))


def counted_flops(**numbers: Any) -> int:
    """The reference: pruned where it is said how many are kept."""
    size = DecoderSize(**{name: numbers.pop(name) for name in _SIZE if name in numbers})
    return (pruned_prefill_flops if "keep" in numbers else prefill_flops)(size, **numbers).total


def _agrees(trial: Trial) -> None:
    """The candidate's total is the reference's, exactly."""
    numbers = dict(trial.case.numbers)
    got = whole_number(trial, trial.call(**numbers))
    expected = counted_flops(**numbers)
    if got != expected:
        raise trial.broken(trial.law, f"expected {expected} FLOPs, got {shown(got)}")


def _law(name: str, statement: str, cases: SearchStrategy[Case] | list[Case]) -> Law:
    return Law(name, statement, lambda _: cases, _agrees)


PREFILL_FLOPS = Contract(
    "prefill_flops",
    "prefill_flops(*, text_tokens, visual_tokens, layers, hidden, heads, kv_heads, head_dim, mlp, mlp_matrices, "
    "prune_layer=None, keep=None): ints -> int; the whole score matrix counts, the language-model head does not",
    Named(
        "FLOPs of a prompt (Eqs. 6.2 and 6.3), one multiply-add being two: K layers on N + T tokens and L - K on "
        "k + T. A layer on n tokens: 2 n d (2 h d_h + 2 kv_heads d_h + m * mlp_matrices) + 4 pairs h d_h.",
        {
            **_SIZE,
            **_PROMPT,
            "prune_layer": "K, the first layer that runs pruned; with keep only",
            "keep": "k, visual tokens from layer K on; absent for an unpruned prompt",
            "scoring": "whether the cost of the method itself counts too (Eq. 6.4, Gram side, 9 h^3 for eigenvalues)",
        },
        {"flops": "(), FLOPs: an exact integer, written as a decimal string because JSON numbers end at 2^53"},
        lambda ask, given: {"flops": ask(**given)},
        lambda _: counted_flops,
        ("prune_layer", "keep", "scoring"),
    ),
    lambda: ((), dict.fromkeys((*SIZES, "text_tokens", "visual_tokens", "prune_layer", "keep"), 1)),
    (
        _law("by hand", "a model of ones takes 18 FLOPs a layer", _smallest()),
        _law("prompt", "a prompt costs the sum of its layers (Eq. 6.2)", _prompts(pruned=False)),
        _law("pruned prompt", "layers from the prune layer on see fewer tokens (Eq. 6.3)", _prompts(pruned=True)),
        _law(
            "grouped queries",
            "shared key/value heads spare projections and no attention",
            _prompts(pruned=False, grouped=True),
        ),
        _law("free head size", "heads need not fill the hidden size", _prompts(pruned=True, grouped=True, free=True)),
        _law("plain MLP", "an MLP of two matrices has two", _prompts(pruned=False, matrices=2)),
        _law("pruned plain MLP", "so it has in a pruned prompt", _prompts(pruned=True, matrices=2)),
        _law("real sizes", "totals of real models are exact integers", _real_prompts()),
    ),
    floating=False,
)
