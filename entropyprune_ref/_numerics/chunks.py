"""Work in chunks, on threads where that is safe."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

CHUNK = 2**18  # numbers per chunk on a CPU, 2 MiB in float64: they stay in the cache between the steps


def in_chunks(
    function: Callable[[Tensor], Tensor], matrices: Float[Tensor, "*batch rows columns"]
) -> Float64[Tensor, "*batch"]:
    """Applies a function of `(part, rows, columns)` matrices, one number each, to any number of them.

    The size of a chunk depends on the shape alone: working memory does not grow with the number of matrices, and bits
    do not depend on threads.
    """
    rows, columns = matrices.shape[-2:]
    numbers = CHUNK if matrices.device.type == "cpu" else 64 * CHUNK
    parts = torch.split(matrices.reshape(-1, rows, columns), max(1, numbers // (rows * max(rows, columns))))
    return torch.cat(_each(function, parts)).reshape(matrices.shape[:-2])


def _each(function: Callable[[Tensor], Tensor], parts: tuple[Tensor, ...]) -> list[Tensor]:
    """Maps over the parts, on threads where nothing that belongs to the calling thread would be lost.

    Batched eigenvalue solvers on a CPU go through a batch one by one, hence the threads; autograd and dispatch modes
    (a FLOP counter) watch the calling thread only.
    """
    watched = (torch.is_grad_enabled() and parts[0].requires_grad) or is_in_torch_dispatch_mode()
    workers = min(torch.get_num_threads(), len(parts))
    if watched or workers == 1 or parts[0].device.type != "cpu":
        return [function(part) for part in parts]
    inference = torch.is_inference_mode_enabled()

    def task(part: Tensor) -> Tensor:
        with torch.inference_mode(inference), torch.no_grad():  # both belong to a thread
            return function(part)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(task, parts))
