"""Vectors of section 3: entropies of tokens over their heads, in each convention."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ....scoring import CONVENTIONS
from .building import entropic, refused
from .case import VectorCase
from .draws import integers, numbers, signs


def cases() -> Iterator[VectorCase]:
    """Yields all of them."""
    for convention in CONVENTIONS:
        yield from _of_tokens(convention)


def _of_tokens(convention: str) -> Iterator[VectorCase]:
    def case(name: str, comment: str, flags: str, given: Tensor, like: Tensor | None = None) -> VectorCase:
        return entropic("token_entropy", convention, name, comment, flags, given, like)

    others = "OtherConvention"
    logarithm = "NotDividedByLogHeads HeadsMinusOne" if convention == "released" else "DividedByLogHeads"
    few, many = numbers("queries/few_heads", 5, 4, 6), numbers("queries/many_heads", 4, 9, 3)
    yield case("few_heads", "fewer heads than features", f"NoCentring HeadsFeaturesSwapped {others} {logarithm}", few)
    yield case("many_heads", "more heads than features", f"NoCentring CentredOverTokens {others} {logarithm}", many)
    yield case(
        "square",
        "as many heads as features",
        "CentredOverFeatures Log2",
        numbers("queries/square", 3, 5, 5),
    )
    yield case(
        "llava",
        "one token of 32 heads with 128 features, the size of LLaVA-1.5-7B",
        f"PowerIteration HalfPrecision {others}",
        numbers("queries/llava", 1, 32, 128),
    )
    powers = 2.0 ** torch.tensor([-4.0, -2.0, 0.0, 2.0, 4.0], dtype=torch.float64)
    yield case(
        "token_scales",
        "one token in five sizes"
        + (": the score falls with the energy" if convention == "released" else ": one score"),
        f"{others} CentredOverTokens",
        few[:1] * powers[:, None, None],
    )
    yield case(
        "head_scales",
        "one head larger than the others",
        others,
        few * torch.tensor([8.0, 1.0, 1.0, 1.0], dtype=torch.float64)[:, None],
    )
    yield case(
        "common_vector",
        "all heads of a token moved far by one vector",
        "NoCentring Cancellation",
        few[:, :3] + 2**14 * numbers("queries/common", 5, 1, 6),
    )
    equal = few.clone()
    equal[2] = few[2, :1]
    variance = others if convention == "released" else "ZeroVariance"
    yield case("equal_heads", "one token among others has equal heads: no variance", variance, equal)
    heads = integers("queries/line", 3, 4, 1, low=-9, high=9) * integers("queries/direction", 1, 1, 6, low=1, high=9)
    low = "HeadsMinusOne" if convention == "released" else "LogOfZero"
    yield case("rank_one", "all heads of a token on one line", low, heads)
    yield case("two_heads", "two heads are always on one line", low, few[:, :2])
    pairs = torch.cat([few[:, :1], -few[:, :1], few[:, 1:2], -few[:, 1:2]], 1)
    yield case(
        "middle_heads",
        "four of eight heads equal the mean of all: their rows are zero after centring, exactly",
        "ZeroRow" if convention == "row_normalized" else others,
        torch.cat([pairs, torch.zeros_like(pairs)], 1),
        like=torch.cat([pairs, pairs], 1) if convention == "row_normalized" else None,
    )
    if convention == "row_normalized":
        yield case(
            "before_centring",
            "heads of one length, which centring makes unequal",
            "NormalizedBeforeCentring",
            signs(2)[None].repeat(2, 1, 1) * torch.tensor([[1.0], [2.0]], dtype=torch.float64)[:, None]
            + few[:2, :1, :4],
        )
    single = few[:, :1]
    if convention == "released":
        yield refused(
            "token_entropy", "one_head", "a single head: log 1 divides", "LogOfOneHead", {"queries": single}, convention
        )
    else:
        yield case("one_head", "a single head has no variance: 0", "ZeroVariance", single)
        yield case("tiny", "queries of 1e-12: entropy ignores scale", "AbsoluteEpsilon", few * 2.0**-40)
    bad = few.clone()
    bad[1, 2, 3] = math.nan
    yield refused("token_entropy", "nan", "one query is NaN", "AcceptsNotFinite", {"queries": bad}, convention)
