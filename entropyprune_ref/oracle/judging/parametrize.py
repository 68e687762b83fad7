"""For the test file of an implementer: every law of a contract as a test of its own."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...scoring import Convention
from ..contracts.contract import Law
from ..trial.failure import Failure
from ..trial.isolation import Isolated
from ..trial.trial import STRUCTURE, Broken
from .asked import prepared
from .checking import excused
from .trying import SIZES, judged


def parametrize_with_checks(
    contract: str,
    candidate: Callable[..., Any],
    *,
    convention: Convention | str | None = None,
    dtype: torch.dtype | str = torch.float64,
    computes_in: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    arrays: str = "torch",
    size: str = "default",
    seed: int = 0,
    time_limit: int | float = 30.0,
    memory_limit: int | float = 8.0,
    isolate: bool = False,
    expected_failures: Mapping[str, str] | None = None,
) -> Any:
    """A pytest decorator that calls a test once for each law of a contract.

    The test takes one argument, `law`, and calls it: `law()` raises an `AssertionError` that says what is wrong.

        @parametrize_with_checks("token_entropy", my_function, dtype=torch.float32)
        def test_my_token_entropy(law):
            law()

    Args:
        contract: As in `check`.
        candidate: As in `check`.
        convention: As in `check`.
        dtype: As in `check`.
        computes_in: As in `check`.
        device: As in `check`.
        arrays: As in `check`.
        size: As in `check`.
        seed: As in `check`.
        time_limit: As in `check`.
        memory_limit: As in `check`.
        isolate: As in `check`.
        expected_failures: Laws that are known not to hold, with the reason: they are marked `xfail`, strictly. A law of
            every call, such as "time", is a test of its own then, and expected wherever it breaks.

    Returns:
        The decorator, `pytest.mark.parametrize` over laws, named as in the report.

    Raises:
        ModuleNotFoundError: pytest is not installed.
        TypeError: As in `check`.
        ValueError: As in `check`.
    """
    try:
        import pytest
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("parametrize_with_checks needs pytest: pip install pytest") from error

    chosen, setting = prepared(contract, candidate, convention, dtype, device, arrays, seed, time_limit, computes_in)
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(map(repr, SIZES))}, got {size!r}")
    excuses = excused(chosen, expected_failures)

    def failure_of(law: Law, examples: int) -> Failure | None:
        tried = Isolated(candidate, arrays, setting.device, time_limit, memory_limit) if isolate else candidate
        try:
            return judged(law, tried, setting, examples).failure
        finally:
            if isinstance(tried, Isolated):
                tried.close()

    def of_law(law: Law) -> Callable[[], None]:
        def tried() -> None:
            failure = failure_of(law, SIZES[size])
            if failure is not None and failure.law != law.name and failure.law in excuses:
                pytest.xfail(excuses[failure.law])
            if failure is not None:
                raise Broken(failure)

        return tried

    def of_structure(name: str) -> Callable[[], None]:
        """Must find a call that breaks the law: it was said to be broken."""

        def tried() -> None:
            for law in chosen.laws:
                failure = failure_of(law, SIZES["quick"])
                if failure is not None and failure.law == name:
                    raise Broken(failure)

        return tried

    def marks(name: str) -> list[Any]:
        return [pytest.mark.xfail(reason=excuses[name], strict=True)] if name in excuses else []

    laws = [pytest.param(of_law(law), id=law.name, marks=marks(law.name)) for law in chosen.laws]
    of_calls = sorted(set(excuses) & set(STRUCTURE) - {law.name for law in chosen.laws})
    laws += [pytest.param(of_structure(name), id=f"calls: {name}", marks=marks(name)) for name in of_calls]
    return pytest.mark.parametrize("law", laws)
