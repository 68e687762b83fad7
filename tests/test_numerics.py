"""Exact powers of two, centring and work in chunks: what the equations are computed with."""

import math
import threading

import numpy as np
import pytest
import torch
from torch import Tensor

from entropyprune_ref._numerics import chunks
from entropyprune_ref._numerics.arguments import require_real
from entropyprune_ref._numerics.centring import unit_centred, unit_rows
from entropyprune_ref._numerics.powers import times_power_of_two

EPS = torch.finfo(torch.float64).eps


@pytest.mark.parametrize(
    ("value", "exponent"),
    [(5e-324, 2046), (5e-324, 2045), (2.0**1023, -2044), (2.0**1023, -2043), (3e-310, 1100), (1.75, 0), (1.75, -1)],
)
def test_powers_of_two_are_exact_from_end_to_end_of_float64(value: float, exponent: int) -> None:
    """Beside C's ldexp; between the smallest and the largest number lie 2^2097, of which 2^2046 is the most asked."""
    product = times_power_of_two(torch.tensor([value], dtype=torch.float64), torch.tensor([exponent]))
    assert product.item() == math.ldexp(value, exponent) != 0


@pytest.mark.parametrize("exponent", [-(2**17), -2050, 2047, 4000])
def test_zero_times_any_power_of_two_is_zero(exponent: int) -> None:
    assert times_power_of_two(torch.zeros(2, dtype=torch.float64), torch.tensor([exponent] * 2)).tolist() == [0, 0]


def test_unit_centred_is_centred_and_of_order_one() -> None:
    """A column that varies little about a large mean, one that varies much, one that does not vary at all."""
    for small, large in ((2.0**-30, 1.0), (2.0**-40, 2.0**-45), (2.0**300, 2.0**299)):
        sign = torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64)[:, None]
        features = torch.cat([2.0**20 * small + small * sign, large * sign, large * sign.square()], 1)
        centred = unit_centred(features)
        assert 0.5 <= centred.abs().max() < 1
        power = max(small, large) / centred.abs().max().item()
        assert torch.equal(centred * power, torch.cat([small * sign, large * sign, 0 * sign], 1))


def test_unit_rows_takes_what_centring_left_of_a_row_for_none() -> None:
    """Many heads of one feature: the last is the mean of the others but for its own rounding."""
    generator = torch.Generator().manual_seed(3)
    heads = torch.rand((200, 64, 1), generator=generator, dtype=torch.float64)
    queries = torch.cat([heads, heads.mean(1, keepdim=True)], 1)
    rows = unit_rows(queries)
    assert (rows[:, -1] == 0).all() and rows[:, :-1].abs().sum() > 0.99 * rows[:, :-1].numel()


def test_unit_rows_of_a_batch_are_those_of_its_parts() -> None:
    """Also of a row that is just long enough to count, however many others there are."""
    short = 6 * (4 + 4) * EPS
    a, b = torch.eye(4, dtype=torch.float64)[:2]
    queries = torch.stack([a, -a, b * short, -b * short]).expand(500, 4, 4)
    assert torch.equal(unit_rows(queries), torch.stack([a, -a, b, -b]).expand(500, 4, 4))


def test_a_chunk_is_two_mebibytes_of_float64() -> None:
    assert chunks.CHUNK * torch.float64.itemsize == 2 * 1024**2


@pytest.mark.parametrize(
    ("shape", "sizes"), [((7, 3, 4), [2, 2, 2, 1]), ((5, 2, 2), [5]), ((3, 5, 5), [1, 1, 1]), ((3, 1, 24), [1, 1, 1])]
)
def test_chunks_hold_as_many_matrices_as_fit_and_one_at_least(
    shape: tuple[int, ...], sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk of 24 numbers, counted as rows times the longer side: what a Gram matrix of it may take."""
    monkeypatch.setattr(chunks, "CHUNK", 24)
    seen: list[int] = []

    def traces(part: Tensor) -> Tensor:
        seen.append(len(part))
        assert threading.current_thread() is threading.main_thread()
        return part.sum((-2, -1)).double()

    matrices = torch.arange(math.prod(shape)).reshape(shape).double()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert torch.equal(chunks.in_chunks(traces, matrices), matrices.sum((-2, -1)))
    finally:
        torch.set_num_threads(threads)
    assert seen == sizes


@pytest.mark.parametrize("given", [np.float32(0.5), np.float64(0.5), 0.5, np.int64(3), np.uint8(3), 3])
def test_real_numbers_of_numpy_become_those_of_python(given: float) -> None:
    number = require_real("share", given)
    assert type(number) in (int, float) and number == given and isinstance(number, int) == (given == 3)
