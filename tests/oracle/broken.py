"""Whether a law catches a wrong implementation."""

from collections.abc import Callable
from typing import Any

from entropyprune_ref.oracle.contracts.contract import Law
from entropyprune_ref.oracle.inputs.case import Setting
from entropyprune_ref.oracle.judging.trying import SIZES, judged
from entropyprune_ref.oracle.trial.failure import Failure


def broken(
    law: Law, candidate: Callable[..., Any], setting: Setting, first: int = SIZES["quick"], then: int = SIZES["default"]
) -> Failure | None:
    """Returns how the law breaks on the first few cases, else on more: another hypothesis draws other cases."""
    few = judged(law, candidate, setting, first, shrink=False).failure
    return few or judged(law, candidate, setting, then, shrink=False).failure
