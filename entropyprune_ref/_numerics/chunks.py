"""Work in chunks, on threads where that is safe."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def map_parts(score: Callable[[Tensor], Tensor], parts: tuple[Tensor, ...]) -> list[Tensor]:
    """Maps over the parts, on threads where nothing that belongs to the calling thread would be lost."""
    watched = (torch.is_grad_enabled() and parts[0].requires_grad) or is_in_torch_dispatch_mode()
    workers = min(torch.get_num_threads(), len(parts))
    if watched or workers == 1 or parts[0].device.type != "cpu":
        return [score(part) for part in parts]
    inference = torch.is_inference_mode_enabled()

    def task(part: Tensor) -> Tensor:
        with torch.inference_mode(inference), torch.no_grad():  # both belong to a thread
            return score(part)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(task, parts))
