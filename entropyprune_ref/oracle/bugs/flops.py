"""Wrong FLOPs."""

from collections.abc import Callable
from typing import Any

from .catalogue import mutant

Terms = dict[str, int]


def _layer(n: int, given: dict[str, Any]) -> Terms:
    """The terms of one layer, right."""
    width, kv_width = given["heads"] * given["head_dim"], given["kv_heads"] * given["head_dim"]
    return {
        "query": 2 * n * given["hidden"] * width,
        "key value": 4 * n * given["hidden"] * kv_width,
        "output": 2 * n * given["hidden"] * width,
        "attention": 4 * n * n * width,
        "mlp": 2 * n * given["hidden"] * given["mlp"] * given["mlp_matrices"],
    }


def _total(given: dict[str, Any], change: Callable[[Terms, int], int] | None = None, shift: int = 0) -> int:
    """A whole prompt, with `change` of the terms of a layer on n tokens."""
    total = change or (lambda terms, n: sum(terms.values()))
    text, visual = given["text_tokens"], given["visual_tokens"]
    if given.get("keep") is None:
        return given["layers"] * total(_layer(text + visual, given), text + visual)
    before, after = text + visual, text + given["keep"]
    full = given["prune_layer"] + shift
    return full * total(_layer(before, given), before) + (given["layers"] - full) * total(_layer(after, given), after)


def _enter(name: str, change: Callable[[Terms, int], int]) -> None:
    mutant("prefill_flops", name)(lambda **given: _total(given, change))


_enter("multiply-adds counted as one FLOP", lambda terms, n: sum(terms.values()) // 2)
_enter("attention ignored", lambda terms, n: sum(terms.values()) - terms["attention"])
_enter("n² halved", lambda terms, n: sum(terms.values()) - terms["attention"] // 2)
_enter(
    "causal pairs only", lambda terms, n: sum(terms.values()) - (terms["attention"] * (n - 1) // (2 * n) if n else 0)
)
_enter("output projection forgotten", lambda terms, n: sum(terms.values()) - terms["output"])
_enter("values forgotten", lambda terms, n: sum(terms.values()) - terms["key value"] // 2)
_enter("MLP forgotten", lambda terms, n: sum(terms.values()) - terms["mlp"])


@mutant("prefill_flops", "MLP counted with two matrices")
def _(**given: Any) -> int:
    return _total(given | {"mlp_matrices": 2})


@mutant("prefill_flops", "MLP always of three matrices")
def _(**given: Any) -> int:
    return _total(given | {"mlp_matrices": 3})


@mutant("prefill_flops", "grouped-query attention ignored")
def _(**given: Any) -> int:
    return _total(given | {"kv_heads": given["heads"]})


@mutant("prefill_flops", "shared heads multiplied once")
def _(**given: Any) -> int:
    share = given["heads"] // given["kv_heads"]
    return _total(given, lambda terms, n: sum(terms.values()) - terms["attention"] + terms["attention"] // share)


@mutant("prefill_flops", "heads assumed to fill the hidden size")
def _(**given: Any) -> int:
    return _total(given | {"head_dim": -(-given["hidden"] // given["heads"])})


@mutant("prefill_flops", "prune layer off by one")
def _(**given: Any) -> int:
    return _total(given, shift=1)


@mutant("prefill_flops", "pruned in every layer")
def _(**given: Any) -> int:
    return _total(given | {"prune_layer": 0})


@mutant("prefill_flops", "pruning ignored")
def _(**given: Any) -> int:
    return _total(given | {"keep": None})


@mutant("prefill_flops", "text tokens pruned too")
def _(**given: Any) -> int:
    if given.get("keep") is None:
        return _total(given)
    return _total(given | {"text_tokens": 0, "visual_tokens": given["text_tokens"] + given["visual_tokens"]})


@mutant("prefill_flops", "text tokens ignored")
def _(**given: Any) -> int:
    return _total(given | {"text_tokens": 0})


@mutant("prefill_flops", "float64 total")
def _(**given: Any) -> float:
    return float(_total(given))


@mutant("prefill_flops", "32-bit overflow")
def _(**given: Any) -> int:
    return _total(given) % 2**32


@mutant("prefill_flops", "rounded to GFLOPs")
def _(**given: Any) -> int:
    return round(_total(given) / 1e9) * 10**9
