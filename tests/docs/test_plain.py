"""The plain formulas of the pages say what the package says."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

import entropyprune_ref
from entropyprune_ref import PAPER, RELEASED, ROW_NORMALIZED
from entropyprune_ref.flops import DECODERS, layer_flops, pruned_prefill_flops

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "figures"))
plain = importlib.import_module("plain")

FEATURES = torch.randn(12, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}  # eigenvalues of order one in float64, and a dozen terms


@pytest.mark.parametrize(
    "name",
    ["centred", "density_matrix", "matrix_entropy", "effective_rank", "covariance_spectrum", "gram_spectrum"],
)
def test_plain_formula_equals_the_function_of_its_name(name: str) -> None:
    module = entropyprune_ref.gram if name == "centred" else entropyprune_ref
    ours = getattr(module, name)(FEATURES)
    theirs = getattr(plain, name)(FEATURES)
    if name.endswith("_spectrum"):  # the package's spectra have sum one
        theirs = theirs / theirs.sum()
        ours = ours / ours.sum()
    torch.testing.assert_close(theirs, ours, **CLOSE)


@pytest.mark.parametrize("alpha", [0.5, 2.0, 3.0])
def test_plain_renyi_entropy_equals_the_package(alpha: float) -> None:
    torch.testing.assert_close(
        plain.renyi_entropy(FEATURES, alpha), entropyprune_ref.renyi_entropy(FEATURES, alpha), **CLOSE
    )


@pytest.mark.parametrize(
    ("name", "convention"),
    [
        ("token_entropy", PAPER),
        ("token_entropy_row_normalized", ROW_NORMALIZED),
        ("token_entropy_released", RELEASED),
    ],
)
def test_plain_token_entropy_equals_the_package(name: str, convention: entropyprune_ref.Convention) -> None:
    ours = entropyprune_ref.token_entropy(FEATURES[None], convention)[0]
    # each exact zero eigenvalue that the clamp raises adds 2.3e-9 / log h, on either side alike
    torch.testing.assert_close(getattr(plain, name)(FEATURES), ours, rtol=1e-9, atol=1e-9)


def test_plain_collapse_budget_and_selection_equal_the_package() -> None:
    curves = torch.tensor([[4.0, 3.5, 1.0, 0.9], [4.0, 3.9, 2.0, 1.9]])
    assert plain.collapse_layer(curves) == entropyprune_ref.collapse_layer(curves).layer == 2
    for average in (192, 128, 64):
        ours = entropyprune_ref.tokens_to_keep(average, visual_tokens=576, layers=32, prune_layer=2)
        assert plain.tokens_to_keep(average, 576, 32, 2) == ours
    scores = torch.tensor([1.0, 3.0, 3.0, 2.0, 3.0], dtype=torch.float64)
    assert plain.select_tokens(scores, 2).tolist() == entropyprune_ref.select_tokens(scores, 2).tolist() == [1, 2]


@pytest.mark.parametrize("name", DECODERS)
def test_plain_flops_equal_the_package(name: str) -> None:
    size = DECODERS[name]
    numbers = (size.hidden, size.mlp, size.heads, size.kv_heads, size.head_dim)
    layers = [plain.layer_flops(n, *numbers) for n in (611, 133)]
    assert layers == [layer_flops(size, n).total for n in (611, 133)]
    ours = pruned_prefill_flops(size, text_tokens=35, visual_tokens=576, prune_layer=2, keep=98)
    assert plain.pruned_flops(layers, size.layers, 2) == ours.total
