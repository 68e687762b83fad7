"""What a check is asked: the contract and the setting, or which argument is wrong."""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from ...scoring import CONVENTIONS, PAPER, Convention
from ..contracts import CONTRACTS
from ..contracts.contract import Contract
from ..inputs.case import WITH_CONVENTION, Setting
from ..trial.arrays import require_kind
from ..trial.names import dtype_name

FLOATING = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What a candidate may compute in, by name."""


def prepared(
    contract: str,
    candidate: Callable[..., Any],
    convention: Convention | str | None,
    dtype: torch.dtype | str,
    device: torch.device | str,
    arrays: str,
    seed: int,
    time_limit: int | float,
    computes_in: torch.dtype | str | None = None,
) -> tuple[Contract, Setting]:
    """Returns the contract and the setting, or says which argument is wrong."""
    if contract not in CONTRACTS:
        raise ValueError(f"contract must be one of {', '.join(CONTRACTS)}, got {contract!r}")
    if not callable(candidate):
        raise TypeError(f"candidate must be callable, got {type(candidate).__name__}")
    if convention is not None and contract not in WITH_CONVENTION:
        raise ValueError(f"convention must not be given for {contract}, which has none, got {convention!r}")
    if convention is None:
        convention = PAPER
    if isinstance(convention, str):
        if convention not in CONVENTIONS:
            raise ValueError(f"convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}")
        convention = CONVENTIONS[convention]
    if not isinstance(convention, Convention):
        raise TypeError(f"convention must be a Convention or its name, got {type(convention).__name__}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be an integer from 0 to 2^64 - 1, got {seed!r}")
    chosen = CONTRACTS[contract]
    names = {str(known).removeprefix("torch."): known for known in chosen.dtypes}
    wanted = names.get(dtype_name(dtype)) if isinstance(dtype, str) else dtype
    if wanted not in chosen.dtypes:
        raise ValueError(f"dtype must be one of {', '.join(names)} for {contract}, got {dtype}")
    claimed = FLOATING.get(dtype_name(computes_in)) if isinstance(computes_in, str) else computes_in
    if (claimed is None and computes_in is not None) or claimed not in (None, *FLOATING.values()):
        raise ValueError(f"computes_in must be one of {', '.join(FLOATING)}, got {computes_in}")
    require_kind(arrays, wanted)
    if not time_limit > 0:
        raise ValueError(f"time_limit must be above 0 seconds, got {time_limit}")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device must be one that torch can use here, got {device!r}: {error}") from None
    arguments, options = chosen.example()
    try:
        inspect.signature(candidate).bind(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"candidate must be callable as {chosen.call}, got one with {error}") from None
    except ValueError:
        pass  # built in C, without a signature: the first call will tell
    return chosen, Setting(contract, convention, wanted, place, arrays, time_limit, seed, claimed)
