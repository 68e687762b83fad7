"""For the test file of an implementer: every law of a contract as a test of its own."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...scoring import PAPER, Convention
from ..trial.trial import Broken
from .checking import SIZES, judged, prepared


def parametrize_with_checks(
    contract: str,
    candidate: Callable[..., Any],
    *,
    convention: Convention | str = PAPER,
    dtype: torch.dtype | str = torch.float64,
    device: torch.device | str = "cpu",
    arrays: str = "torch",
    size: str = "default",
    seed: int = 0,
    time_limit: int | float = 10.0,
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
        device: As in `check`.
        arrays: As in `check`.
        size: As in `check`.
        seed: As in `check`.
        time_limit: As in `check`.
        expected_failures: Laws that are known not to hold, with the reason: they are marked `xfail`, strictly.

    Returns:
        The decorator, `pytest.mark.parametrize` over laws, named as in the report.

    Raises:
        ModuleNotFoundError: pytest is not installed.
        TypeError: As in `check`.
        ValueError: As in `check`.

    Properties:
        - one test a law, expected failures are strict -> `test_parametrize_with_checks_makes_one_test_of_each_law`
    """
    try:
        import pytest
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("parametrize_with_checks needs pytest: pip install pytest") from error

    chosen, setting = prepared(contract, candidate, convention, dtype, device, arrays, seed, time_limit)
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(map(repr, SIZES))}, got {size!r}")
    excuses = dict(expected_failures or {})
    if unknown := sorted(set(excuses) - {law.name for law in chosen.laws}):
        names = ", ".join(law.name for law in chosen.laws)
        raise ValueError(f"expected_failures must name laws of {contract} ({names}), got {unknown}")

    def run(number: int) -> Callable[[], None]:
        def law() -> None:
            failure = judged(chosen.laws[number], candidate, setting, SIZES[size]).failure
            if failure is not None:
                raise Broken(failure)

        return law

    return pytest.mark.parametrize(
        "law",
        [
            pytest.param(
                run(number),
                id=law.name,
                marks=[pytest.mark.xfail(reason=excuses[law.name], strict=True)] if law.name in excuses else [],
            )
            for number, law in enumerate(chosen.laws)
        ],
    )
