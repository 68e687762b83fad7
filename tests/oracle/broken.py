"""Whether a law catches a wrong implementation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis

from entropyprune_ref.oracle.contracts.contract import Law
from entropyprune_ref.oracle.inputs.case import Setting
from entropyprune_ref.oracle.judging.trying import SIZES, judged
from entropyprune_ref.oracle.trial.failure import Failure

ROOT = Path(__file__).parents[2]
PINNED = f"hypothesis=={hypothesis.__version__}" in (ROOT / "constraints.txt").read_text().splitlines()


def broken(
    law: Law, candidate: Callable[..., Any], setting: Setting, first: int = SIZES["quick"], then: int = SIZES["default"]
) -> Failure | None:
    """Returns how the law breaks on the first few cases; on more, if this is not the hypothesis that is pinned.

    Each release draws cases of its own, and a few of them may miss what a few of another show.
    """
    few = judged(law, candidate, setting, first, shrink=False).failure
    return few if PINNED else few or judged(law, candidate, setting, then, shrink=False).failure
