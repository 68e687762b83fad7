"""Wrong entropies: of features, of tokens in each convention, of states."""

import math

import torch
from torch import Tensor

from ...entropy import matrix_entropy, renyi_entropy, spectrum_entropy
from ...scoring import RELEASED, ROW_NORMALIZED, token_entropy
from .catalogue import memory_order, mutant

# what several bugs below share, right but for what is passed in


def _centred(features: Tensor, axis: int = -2) -> Tensor:
    return features.double() - features.double().mean(axis, keepdim=True)


def _levels(rows: Tensor) -> Tensor:
    """Eigenvalues of the Gram matrix of rows, as they are."""
    return torch.linalg.eigvalsh(rows @ rows.mT).clamp(min=0)


def _entropy(levels: Tensor) -> Tensor:
    return -torch.special.xlogy(levels, levels).sum(-1)


def _normalized(levels: Tensor) -> Tensor:
    total = levels.sum(-1, keepdim=True)
    return levels / torch.where(total > 0, total, 1.0)


def _short_power_iteration(rows: Tensor) -> Tensor:
    """Four eigenvalues by deflation, three steps each from a vector of ones."""
    matrix, found = rows @ rows.mT, []
    for _ in range(min(4, matrix.shape[-1])):
        vector = torch.ones(matrix.shape[:-1], dtype=matrix.dtype)[..., None]
        vector[..., ::2, :] = 0.5
        for _ in range(3):
            vector = torch.nn.functional.normalize(matrix @ vector, dim=-2)
        level = (vector.mT @ matrix @ vector).clamp(min=0)
        found.append(level[..., 0, 0])
        matrix = matrix - level * vector @ vector.mT
    return torch.stack(found, -1)


def _half_gram(rows: Tensor) -> Tensor:
    scale = rows.abs().amax((-2, -1), keepdim=True)
    half = (rows / torch.where(scale > 0, scale, 1.0)).half()
    return torch.linalg.eigvalsh((half @ half.mT).double()).clamp(min=0)


def _released(queries: Tensor, divisor: int | float, clamp: float = 1e-10) -> Tensor:
    return _entropy((_levels(_centred(queries)) / divisor).clamp(min=clamp))


# matrix_entropy

mutant("matrix_entropy", "no centring")(lambda features: spectrum_entropy(_levels(features.double())))
mutant("matrix_entropy", "centring over features")(
    lambda features: _entropy(_normalized(_levels(_centred(features, -1))))
)
mutant("matrix_entropy", "log2")(lambda features: matrix_entropy(features) / math.log(2))
mutant("matrix_entropy", "divided by the log of the samples")(
    lambda features: matrix_entropy(features) / math.log(max(2, features.shape[-2]))
)
mutant("matrix_entropy", "no trace normalisation")(
    lambda features: _entropy(_levels(_centred(features)) / features.shape[-2])
)
mutant("matrix_entropy", "singular values not squared")(
    lambda features: _entropy(_normalized(_levels(_centred(features)).sqrt()))
)
mutant("matrix_entropy", "eigenvalues clamped at 1e-3")(
    lambda features: _entropy(_normalized(_levels(_centred(features))).clamp(min=1e-3))
)
mutant("matrix_entropy", "too short a power iteration")(
    lambda features: _entropy(_normalized(_short_power_iteration(_centred(features))))
)
mutant("matrix_entropy", "half-precision Gram")(lambda features: _entropy(_normalized(_half_gram(_centred(features)))))
mutant("matrix_entropy", "Rényi entropy of order two")(lambda features: renyi_entropy(features, 2))
mutant("matrix_entropy", "effective rank in place of its logarithm")(lambda features: matrix_entropy(features).exp())
mutant("matrix_entropy", "1e-6 added to the trace")(
    lambda features: _entropy(_levels(_centred(features)) / (_levels(_centred(features)).sum(-1, keepdim=True) + 1e-6))
)
mutant("matrix_entropy", "features standardised")(
    lambda features: matrix_entropy(
        _centred(features) / (_centred(features).square().mean(-2, keepdim=True).sqrt() + 1e-300)
    )
)
mutant("matrix_entropy", "views read in memory order")(lambda features: matrix_entropy(memory_order(features)))


@mutant("matrix_entropy", "zero over zero without variance")
def _(features: Tensor) -> Tensor:
    levels = _levels(_centred(features))
    return _entropy(levels / levels.sum(-1, keepdim=True))


@mutant("matrix_entropy", "mean over the batch")
def _(features: Tensor) -> Tensor:
    rows = features.double()
    return _entropy(_normalized(_levels(rows - rows.mean(0, keepdim=True))))


@mutant("matrix_entropy", "one trace for the whole batch")
def _(features: Tensor) -> Tensor:
    levels = _levels(_centred(features))
    return _entropy(levels / levels.sum().clamp(min=1e-300))


@mutant("matrix_entropy", "centres its input in place")
def _(features: Tensor) -> Tensor:
    features -= features.mean(-2, keepdim=True)
    return matrix_entropy(features)


# token_entropy, as the paper has it

mutant("token_entropy", "no centring")(lambda queries: _entropy(_normalized(_levels(queries.double()))))
mutant("token_entropy", "centring over features")(lambda queries: _entropy(_normalized(_levels(_centred(queries, -1)))))
mutant("token_entropy", "centring over tokens")(lambda queries: _entropy(_normalized(_levels(_centred(queries, -3)))))
mutant("token_entropy", "row-normalised passed off as paper")(lambda queries: token_entropy(queries, ROW_NORMALIZED))
mutant("token_entropy", "released passed off as paper")(
    lambda queries: _released(queries, queries.shape[-2]) / math.log(max(2, queries.shape[-2]))
)
mutant("token_entropy", "log2")(lambda queries: token_entropy(queries) / math.log(2))
mutant("token_entropy", "wrongly divided by log h")(
    lambda queries: token_entropy(queries) / math.log(max(2, queries.shape[-2]))
)
mutant("token_entropy", "eigenvalues clamped at 1e-3")(
    lambda queries: _entropy(_normalized(_levels(_centred(queries))).clamp(min=1e-3))
)
mutant("token_entropy", "too short a power iteration")(
    lambda queries: _entropy(_normalized(_short_power_iteration(_centred(queries))))
)
mutant("token_entropy", "half-precision Gram")(lambda queries: _entropy(_normalized(_half_gram(_centred(queries)))))
mutant("token_entropy", "heads and features swapped in the reshape")(
    lambda queries: token_entropy(queries.reshape(*queries.shape[:-2], queries.shape[-1], queries.shape[-2]))
)
mutant("token_entropy", "one head left out")(
    lambda queries: token_entropy(queries[..., : max(1, queries.shape[-2] - 1), :])
)
mutant("token_entropy", "sign of the entropy")(lambda queries: -token_entropy(queries))


@mutant("token_entropy", "tokens and heads swapped")
def _(queries: Tensor) -> Tensor:
    swapped = queries.transpose(-3, -2).reshape(queries.shape)
    return token_entropy(swapped)


# token_entropy, row-normalised

mutant("token_entropy", "paper passed off as row-normalised", ROW_NORMALIZED)(token_entropy)
mutant("token_entropy", "columns normalised in place of rows", ROW_NORMALIZED)(
    lambda queries: token_entropy(torch.nn.functional.normalize(_centred(queries), dim=-2, eps=1e-300))
)
mutant("token_entropy", "rows normalised before centring", ROW_NORMALIZED)(
    lambda queries: token_entropy(torch.nn.functional.normalize(queries.double(), dim=-1, eps=1e-300))
)
mutant("token_entropy", "rows divided by their sum of magnitudes", ROW_NORMALIZED)(
    lambda queries: _entropy(_normalized(_levels(torch.nn.functional.normalize(_centred(queries), p=1, dim=-1))))
)


@mutant("token_entropy", "zero rows over zero", ROW_NORMALIZED)
def _(queries: Tensor) -> Tensor:
    rows = _centred(queries)
    zero_over_zero = (0 * rows / rows.norm(dim=-1, keepdim=True)).sum((-2, -1))
    return token_entropy(queries, ROW_NORMALIZED) + zero_over_zero


# token_entropy, as released


mutant("token_entropy", "paper passed off as released", RELEASED)(token_entropy)
mutant("token_entropy", "row-normalised passed off as released", RELEASED)(
    lambda queries: token_entropy(queries, ROW_NORMALIZED)
)
mutant("token_entropy", "division by h - 1", RELEASED)(
    lambda queries: _released(queries, max(1, queries.shape[-2] - 1)) / math.log(queries.shape[-2])
)
mutant("token_entropy", "not divided by log h", RELEASED)(lambda queries: _released(queries, queries.shape[-2]))
mutant("token_entropy", "divided by the log of the head size", RELEASED)(
    lambda queries: _released(queries, queries.shape[-2]) / math.log(max(2, queries.shape[-1]))
)
mutant("token_entropy", "divided by the head size", RELEASED)(
    lambda queries: _released(queries, queries.shape[-1]) / math.log(queries.shape[-2])
)
mutant("token_entropy", "eigenvalues clamped at 1e-3", RELEASED)(
    lambda queries: _released(queries, queries.shape[-2], 1e-3) / math.log(queries.shape[-2])
)
mutant("token_entropy", "trace-normalised", RELEASED)(
    lambda queries: token_entropy(queries) / math.log(queries.shape[-2])
)

# layer_entropy

mutant("layer_entropy", "no centring")(lambda states: spectrum_entropy(_levels(states.double())))
mutant("layer_entropy", "centring over features")(lambda states: _entropy(_normalized(_levels(_centred(states, -1)))))
mutant("layer_entropy", "centring over layers")(lambda states: _entropy(_normalized(_levels(_centred(states, -3)))))
mutant("layer_entropy", "log2")(lambda states: matrix_entropy(states) / math.log(2))
mutant("layer_entropy", "states shifted by one")(lambda states: matrix_entropy(states).roll(1, -1))
mutant("layer_entropy", "last state left out")(lambda states: matrix_entropy(states)[..., :-1])
mutant("layer_entropy", "divided by the log of the tokens")(
    lambda states: matrix_entropy(states) / math.log(max(2, states.shape[-2]))
)
mutant("layer_entropy", "row-normalised")(
    lambda states: _entropy(_normalized(_levels(torch.nn.functional.normalize(_centred(states), dim=-1))))
)
mutant("layer_entropy", "running mean over layers")(
    lambda states: matrix_entropy(states).cumsum(-1) / torch.arange(1, states.shape[-3] + 1)
)
