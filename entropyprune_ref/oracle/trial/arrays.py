"""Between the arrays of the kit and those of a candidate: torch, NumPy, JAX, or anything with a standard protocol."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.utils.dlpack
from torch import Tensor

KINDS = ("torch", "numpy", "jax")


def require_kind(kind: str, dtype: torch.dtype) -> None:
    """Refuses a kind of array that is unknown, not installed, or has no such dtype.

    Raises:
        ValueError: One of these.
    """
    if kind not in KINDS:
        raise ValueError(f"arrays must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    if kind == "numpy" and dtype == torch.bfloat16:
        raise ValueError("dtype must be one that NumPy has, got bfloat16; use arrays='torch' or 'jax' for it")
    if kind == "jax" and importlib.util.find_spec("jax") is None:
        raise ValueError("arrays='jax' must find JAX installed, got no module of that name")


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Returns the tensor on a device in the same layout: its memory is moved, and looked at as before."""
    if tensor.device.type == device.type:
        return tensor
    count = tensor.untyped_storage().nbytes() // tensor.element_size()
    memory = torch.as_strided(tensor, (count,), (1,), 0).to(device)
    return torch.as_strided(memory, tensor.shape, tensor.stride(), tensor.storage_offset())


def give(tensor: Tensor, kind: str) -> Any:
    """Returns the tensor as an array of `kind`, sharing its memory where that library allows.

    Examples:
        >>> give(torch.ones(2, 3).mT, "numpy").strides
        (4, 12)
    """
    if kind == "numpy":
        return tensor.cpu().numpy()
    if kind == "jax":
        return importlib.import_module("jax.numpy").from_dlpack(tensor.contiguous())
    return tensor


def take(value: Any) -> Tensor:
    """Returns what a candidate gave back as a tensor.

    Args:
        value: A tensor, anything with `__dlpack__` or `__array__`, a number, or a list of numbers.

    Raises:
        TypeError: Nothing of the kind.

    Examples:
        >>> take(np.float32(2.5)), take([1, 2]).dtype
        (tensor(2.5000), torch.int64)
    """
    if isinstance(value, Tensor):
        return value.detach()
    if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | np.generic):
        try:
            return torch.utils.dlpack.from_dlpack(value).detach()
        except (BufferError, RuntimeError, TypeError):
            pass  # read-only memory, or a dtype that the protocol lacks
    array = np.asarray(value)
    if array.dtype == object or array.dtype.kind not in "fiub":
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.astype(np.float32)).bfloat16()
        raise TypeError(f"an array or a number, got {type(value).__name__}")
    return torch.from_numpy(np.array(array, copy=True))


def shown(value: Any) -> str:
    """Returns what a message says of an argument: dtype and shape of an array, and its values too if they are few."""
    if isinstance(value, Tensor):
        kind = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        return f"{kind} {value.tolist()}" if value.numel() <= 12 else kind
    if isinstance(value, Mapping):
        return f"{{{len(value)} entries}}"
    return repr(value)
