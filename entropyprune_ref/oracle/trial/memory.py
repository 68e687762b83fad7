"""What the reference says of a case, kept for the next candidate that is tried on it in the same program."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from .trial import Trial

Found = TypeVar("Found")

MOST = 4096
"""Answers kept; the oldest go first."""

_known: OrderedDict[tuple[Any, ...], Any] = OrderedDict()


def remembered(trial: Trial, find: Callable[[], Found], *more: Any) -> Found:
    """Returns what `find` found for this case and setting before, or lets it find it.

    Args:
        trial: Trial of a candidate on the case; who the candidate is does not matter.
        find: Computes the reference's answer, from the case and the setting alone.
        *more: What the answer depends on besides; hashable.
    """
    setting, case = trial.setting, trial.case
    asked = (setting.contract, setting.convention, setting.dtype, setting.computes_in)
    key = (*asked, case.family, repr(sorted(case.numbers.items())), *more)
    if key not in _known:
        if len(_known) >= MOST:
            _known.popitem(last=False)
        _known[key] = find()
    found: Found = _known[key]
    return found
