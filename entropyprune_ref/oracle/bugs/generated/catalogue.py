"""All generated wrong implementations: every contract, place and operator, each with a name that finds it again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from zlib import crc32

import torch

from ....scoring import PAPER, RELEASED, ROW_NORMALIZED, Convention
from . import counts, decisions, entropies, prefill
from .examples import example
from .operators import ALONE, BLOCKED, BLOCKS, COMPARISONS, ENDS, NUMBERS, ROUNDED, SINGLES, STATES, WHOLE
from .steps import Bug, Place, Steps

PLAIN: dict[tuple[str, str], Callable[..., Any]] = {
    ("matrix_entropy", "paper"): partial(entropies.entropy, convention=PAPER),
    ("token_entropy", "paper"): partial(entropies.entropy, convention=PAPER),
    ("token_entropy", "row_normalized"): partial(entropies.entropy, convention=ROW_NORMALIZED),
    ("token_entropy", "released"): partial(entropies.entropy, convention=RELEASED),
    ("layer_entropy", "paper"): partial(entropies.entropy, convention=PAPER),
    ("collapse_layer", "paper"): decisions.collapse_layer,
    ("select_tokens", "paper"): decisions.select_tokens,
    ("tokens_to_keep", "paper"): counts.tokens_to_keep,
    ("prefill_flops", "paper"): counts.prefill_flops,
    ("pruned_prefill", "paper"): partial(prefill.pruned_prefill, convention=PAPER),
}
"""The plain implementation of every contract and convention."""

CONVENTIONS = {convention.name: convention for convention in (PAPER, ROW_NORMALIZED, RELEASED)}


@dataclass(frozen=True)
class Generated:
    """A plain implementation with one bug.

    Attributes:
        contract: What it claims to implement.
        convention: Which formula of token entropy.
        bug: What is wrong.
    """

    contract: str
    convention: Convention
    bug: Bug

    @property
    def name(self) -> str:
        """Contract, convention, place, operator and axis: unique, and enough to build it again."""
        return f"{self.contract} · {self.convention.name} · {self.bug}"

    def implementation(self) -> Callable[..., Any]:
        """A new candidate, with a memory of its own."""
        plain, memory = PLAIN[self.contract, self.convention.name], dict[Any, torch.Tensor]()

        def candidate(*arguments: Any, **options: Any) -> Any:
            return plain(Steps(self.bug, memory), *arguments, **options)

        return candidate


def places(contract: str, convention: str) -> list[Place]:
    """The places of a plain implementation, in the order in which a call passes them."""
    found: dict[str, Place] = {}
    for arguments, options in example(contract):
        PLAIN[contract, convention](Steps(places=found), *arguments, **options)
    return list(found.values())


@cache
def generated(contract: str | None = None, convention: str | None = None) -> tuple[Generated, ...]:
    """All of them, or those of a contract (and a convention)."""
    return tuple(
        Generated(one, CONVENTIONS[formula], bug)
        for one, formula in PLAIN
        if contract in (None, one) and convention in (None, formula)
        for place in places(one, formula)
        for bug in _bugs(place, one, formula)
    )


SHARES = {
    ("matrix_entropy", "paper"): 27,
    ("token_entropy", "paper"): 15,
    ("token_entropy", "row_normalized"): 12,
    ("token_entropy", "released"): 12,
    ("layer_entropy", "paper"): 10,
    ("collapse_layer", "paper"): 100,
    ("select_tokens", "paper"): 100,
    ("tokens_to_keep", "paper"): 100,
    ("prefill_flops", "paper"): 100,
    ("pruned_prefill", "paper"): 10,
}
"""Percent of the bugs of each plain implementation that the self-test runs, and that its table counts."""


@cache
def sample() -> tuple[Generated, ...]:
    """Those that the self-test runs: a share of each contract, chosen by a hash of the name."""
    return tuple(
        entry
        for entry in generated()
        if crc32(entry.name.encode()) % 100 < SHARES[entry.contract, entry.convention.name]
    )


def generated_by_name(name: str) -> Generated:
    """The one of that name.

    Raises:
        KeyError: There is none.
    """
    return {entry.name: entry for entry in generated()}[name]


MARKS = ("attended", "remaining", "what of it is seen", "cached marks", "visible")
"""Places that pass true or false, which any integer format holds."""


def _bugs(place: Place, contract: str, convention: str) -> Iterator[Bug]:
    if place.kind == "comparison":
        yield from (Bug(place.name, operator) for operator in COMPARISONS)
        return
    if place.kind == "number":
        for operator in NUMBERS if place.floating is False else [name for name in NUMBERS if " bits" not in name]:
            sizes = (64, 1024) if "{n}" in operator else (0,)
            yield from (Bug(place.name, operator, count=n) for n in sizes)
        return
    if place.same:
        yield Bug(place.name, "step dropped")
        yield Bug(place.name, "step doubled")
        yield Bug(place.name, "step moved behind the next")
    yield from (Bug(place.name, name) for name in STATES if place.floating or not name.startswith("added"))
    if place.floating:
        yield from (Bug(place.name, operator) for operator in ROUNDED)
    if not place.floating and place.name not in MARKS:
        yield from (Bug(place.name, operator) for operator in WHOLE if operator.startswith("indices"))
    if len(place.axes) >= 2 and not {"one", "uno", "lead"} & set(place.axes[-2:]):
        yield Bug(place.name, "axes swapped")
    for axis in place.axes:
        if axis not in ("one", "uno"):
            yield from _along(place, axis, f"{contract} {convention} {place.name} {axis}")
    if place.reduced:
        yield from (Bug(place.name, "mean of the results of blocks of {n}", place.reduced, n) for n in BLOCKS)
        yield from (Bug(place.name, "only the last block of {n}", place.reduced, n) for n in BLOCKS)


def _along(place: Place, axis: str, where: str) -> Iterator[Bug]:
    """Bugs along one axis; of the ways to go wrong at a block one a block size, by a hash of the name."""
    ways = [*BLOCKED, *(["blocks of {n} each for itself"] if place.same else [])]
    if axis == "lead":
        ways += ["from {n} on all read the first", "entry {n} reads its neighbour"]
        yield from (Bug(place.name, operator, axis) for operator in ("each reads its neighbour", "all read the first"))
    start = crc32(where.encode())
    for number, n in enumerate(BLOCKS):
        yield Bug(place.name, ways[(start + number) % len(ways)], axis, n)
    yield from (Bug(place.name, operator, axis) for operator in ENDS)
    alone = list(ALONE)
    yield from (Bug(place.name, alone[(start + n) % 2], axis, n) for n in (*SINGLES, -1))
