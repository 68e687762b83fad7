"""The mathematics behind what can be moved: node runs the modules of the pages against this package.

Run by `make docs-check`, not by `make test`: it needs Node.js, and one module the bundled model's answers.
"""

import importlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from entropyprune_ref import (
    PAPER,
    RELEASED,
    ROW_NORMALIZED,
    EntropyPrune,
    collapse_layer,
    matrix_entropy,
    renyi_entropy,
    spectrum,
    token_entropy,
    tokens_to_keep,
)
from entropyprune_ref.flops import DECODERS, FORMULAS, DecoderSize, reduction, scoring_flops
from entropyprune_ref.gram import centred

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "docs" / "explorables"
sys.path.insert(0, str(ROOT / "docs" / "figures"))
TOLERANCE = 1e-9
"""Of the value, or absolute below 1: both sides are float64, and the sums have at most 128 terms of order one."""
FAR: dict[str, float] = {}
"""The largest deviation seen of each module."""


def run(module: str, expression: str, **given: Any) -> Any:
    """Returns an expression of a module's exports, as node computes it."""
    script = f"""
import * as m from {json.dumps((MODULES / "math" / f"{module}.js").as_uri())};
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify({expression}));
"""
    script = 'import {createRequire} from "module"; const require = createRequire("file:///");' + script
    command = ["node", "--input-type=module", "-e", script]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def compare(module: str, ours: Any, theirs: Any) -> None:
    """Holds two arrays to the tolerance, and keeps the largest deviation."""
    one, other = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    assert one.shape == other.shape
    assert np.isfinite(one).all()
    far = float((abs(one - other) / np.maximum(1, abs(other))).max())
    FAR[module] = max(FAR.get(module, 0.0), far)
    assert far <= TOLERANCE


@pytest.fixture(scope="module", autouse=True)
def deviations(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    each = ", ".join(f"{module} {far:.1e}" for module, far in FAR.items())
    request.config.get_terminal_writer().line(f"\nlargest deviations of the explorables from Python: {each}")


def clouds() -> list[list[list[float]]]:
    draw = torch.Generator().manual_seed(0)
    wide = [torch.randn(n, 2, generator=draw, dtype=torch.float64) * 10.0**k for n, k in ((2, 0), (5, -3), (10, 2))]
    thin = torch.randn(10, 1, generator=draw, dtype=torch.float64) * torch.tensor([1.0, 2.0], dtype=torch.float64)
    return [cloud.tolist() for cloud in [*wide, thin, torch.full((10, 2), 0.3, dtype=torch.float64)]]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9, 1.0, 1.1, 2.0, 6.0])
def test_cloud_equals_the_package(alpha: float) -> None:
    found = run("cloud", "given.clouds.map((points) => m.describe(points, given.alpha))", clouds=clouds(), alpha=alpha)
    for points, one in zip(clouds(), found, strict=True):
        cloud = torch.tensor(points, dtype=torch.float64)
        scale = float(cloud.abs().max()) ** 2
        trace = float(centred(cloud).square().sum()) / len(cloud)
        compare("cloud", np.array(one["values"]) / scale, spectrum(cloud).numpy() * trace / scale)
        compare("cloud", one["H"], float(matrix_entropy(cloud)))
        compare("cloud", one["rank"], math.exp(float(matrix_entropy(cloud))))
        if trace > 0 and (alpha > 0 or one["shares"][1] > 1e-14):
            compare("cloud", one["renyi"], float(renyi_entropy(cloud, alpha)))


def test_cloud_is_found_again_in_its_points() -> None:
    base = [[math.sqrt(2) * math.cos(turn), math.sqrt(2) * math.sin(turn)] for turn in np.arange(10) * math.pi / 5]
    points = run("cloud", "m.placed(given)", base=base, a=1.5, b=0.25, angle=0.7, centre=[0.5, -1.0])
    assert np.allclose(np.cov(np.array(points).T, bias=True).trace(), 1.5**2 + 0.25**2, rtol=1e-12)
    again = run("cloud", "m.placed(m.fitted(given.points, given.base))", points=points, base=base)
    assert np.allclose(again, points, rtol=0, atol=1e-12)


def tokens() -> list[list[list[float]]]:
    draw = torch.Generator().manual_seed(1)
    drawn = [
        torch.randn(heads, 2, generator=draw, dtype=torch.float64) * 2.0**k for heads in (4, 6, 8) for k in (-3, 3)
    ]
    cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    return [queries.tolist() for queries in [*drawn, cross, torch.ones(4, 2, dtype=torch.float64)]]


def test_heads_equal_the_package_in_all_three_conventions() -> None:
    found = run("heads", "given.tokens.map((queries) => m.scores(queries))", tokens=tokens())
    for queries, one in zip(tokens(), found, strict=True):
        token = torch.tensor(queries, dtype=torch.float64)[None]
        for name, convention in (("paper", PAPER), ("row", ROW_NORMALIZED), ("released", RELEASED)):
            compare("heads", one[name], float(token_entropy(token, convention)))
        compare("heads", one["s"], float(centred(token[0]).square().sum()) / len(queries))
        compare("heads", one["turn"], math.exp(float(token_entropy(token)) - 1))


def test_heads_turn_where_the_released_score_is_largest() -> None:
    given = {"H": 1.3, "heads": 8}
    near = [math.exp(1.3 - 1) * factor for factor in (0.99, 1.0, 1.01)]
    low, top, high = run("heads", "given.s.map((s) => m.identity(s, given.H, given.heads))", s=near, **given)
    assert low < top > high


@pytest.mark.parametrize(("heads", "size"), [(2, 2), (4, 16), (16, 4), (28, 32), (32, 128), (64, 8)])
def test_grams_share_one_spectrum_and_cost_what_the_package_counts(heads: int, size: int) -> None:
    rows, gram, covariance = run(
        "grams",
        '[m.queries(given.h, given.d), ...["gram", "covariance"].map((side) => '
        "m.spectrum(m.queries(given.h, given.d), side))]",
        h=heads,
        d=size,
    )
    queries = torch.tensor(rows, dtype=torch.float64)
    trace, few = float(centred(queries).square().sum()) / heads, min(heads, size)
    assert len(gram) == heads and len(covariance) == size
    compare("grams", gram[:few], covariance[:few])
    compare("grams", gram, spectrum(queries, "gram").numpy() * trace)
    assert max([*gram[few:], *covariance[few:], 0.0]) <= 1e-12 * gram[0]
    one = DecoderSize(layers=1, hidden=1, heads=heads, kv_heads=heads, head_dim=size, mlp=1)
    for cost in (0, 9, 30):
        for side in ("gram", "covariance"):
            total = run(
                "grams", "m.operations(given.h, given.d, given.side, given.c).total", h=heads, d=size, side=side, c=cost
            )
            assert total == scoring_flops(one, 1, side=side, eigen_cost=cost).total


def test_flops_equal_the_package_by_every_rule() -> None:
    data = json.loads(importlib.import_module("explorable_data").flops())
    settings = [
        {"model": model, "rule": rule, "text": text, "visual": visual, "prune": prune, "keep": keep}
        for model in DECODERS
        for rule in FORMULAS
        for text, visual, prune, keep in ((0, 576, 2, 98), (81, 576, 2, 98), (35, 2880, 1, 0), (200, 64, 20, 64))
    ]
    found = run(
        "flops",
        "given.settings.map((s) => { const a = [given.models[s.model], given.rules[s.rule], s]; "
        "return [m.prefill(...a), m.pruned(...a), m.reduction(...a)]; })",
        settings=settings,
        **data,
    )
    for one, (whole, left, share) in zip(settings, found, strict=True):
        rule, size = FORMULAS[one["rule"]], DECODERS[one["model"]]
        prompt = {"text_tokens": one["text"], "visual_tokens": one["visual"]}
        exact = rule.prefill(size, **prompt)
        pruned = rule.pruned_prefill(size, prune_layer=one["prune"], keep=one["keep"], **prompt)
        assert (whole, left) == (exact, pruned)  # integers below 2^53
        compare("flops", share, float(reduction(exact, pruned)))


def test_flops_budgets_and_readings_are_those_of_the_package() -> None:
    data = json.loads(importlib.import_module("explorable_data").flops())
    sizes = {"layers": 32, "visual": 576, "prune": 2}
    for average, keep in ((192, 166), (128, 98), (64, 29), (36, 0), (576, 576)):
        assert run("flops", "m.keepFor(given.average, given.sizes)", average=average, sizes=sizes) == keep
        assert tokens_to_keep(average, visual_tokens=576, layers=32, prune_layer=2) == keep
    assert run("flops", "m.keepFor(35, given)", **sizes) is None
    with pytest.raises(ValueError, match="average"):
        tokens_to_keep(35, visual_tokens=576, layers=32, prune_layer=2)
    model, rule = data["models"]["llava-1.5-7b"], data["rules"]["linear-only"]
    found = run(
        "flops", "m.readings(given.model, given.rule, given.s)", model=model, rule=rule, s={**sizes, "keep": 98}
    )
    shares = {
        text: reduction(
            FORMULAS["linear-only"].prefill(DECODERS["llava-1.5-7b"], text_tokens=text, visual_tokens=576),
            FORMULAS["linear-only"].pruned_prefill(
                DECODERS["llava-1.5-7b"], text_tokens=text, visual_tokens=576, prune_layer=2, keep=98
            ),
        )
        for text in range(400)
    }
    assert found == [text for text, share in shares.items() if Fraction(6815, 10000) <= share < Fraction(6825, 10000)]
    assert found


def test_prune_collapse_is_that_of_the_package() -> None:
    curves = [[4.0, 4.0, 1.0, 1.5, 1.0], [3.0, 2.0, 1.0, 0.9], [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]]
    found = run("prune", "given.curves.map((curve) => m.collapse(curve))", curves=curves)
    for curve, one in zip(curves, found, strict=True):
        ours = collapse_layer(torch.tensor(curve, dtype=torch.float64))
        assert one["layer"] == ours.layer
        if ours.layer is not None:
            compare("prune", [one["drop"], one["sharpness"]], [ours.drop, ours.sharpness])


@pytest.fixture(scope="module")
def pruned() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(importlib.import_module("explorable_data").prune())
    return made


def test_prune_data_are_small(pruned: dict[str, Any]) -> None:
    data = importlib.import_module("explorable_data")
    assert len(pruned["images"]) == 12
    assert len(data.prune()) + len(data.flops()) <= 400_000


@pytest.mark.parametrize("name", ["token-entropy-paper", "token-entropy-released", "last-token-attention"])
@torch.no_grad()
def test_prune_keeps_and_answers_what_the_bundled_model_does(pruned: dict[str, Any], name: str) -> None:
    """One image at a time, against the data that all were computed for at once."""
    shared = importlib.import_module("_model")
    scorer = importlib.import_module("entropyprune_ref.evaluation.plan").scorers()[name]
    image, place, budget = 3, 1, 2
    one, layer, keep = pruned["images"][image], pruned["layers"][place], pruned["keeps"][budget]
    rows = pruned["rankings"][name][place][image]
    for number, question in enumerate(one["questions"]):
        pruner = EntropyPrune(layer, keep, scorer=scorer)
        ours = shared.model().generate(shared.images(12)[image : image + 1], [question], pruner=pruner)
        ranking = rows[0 if len(rows) == 1 else number]
        found = run("prune", "m.kept(m.unpacked(given.ranking), given.keep)", ranking=ranking, keep=keep)
        assert found == ours.prefill.kept_visual()[0].tolist()
        letters = pruned["answers"][name][place][budget][image]
        said = run("prune", "m.spoken(given.letters, given.words)", letters=letters, words=pruned["words"])
        assert said[number] == ours.texts[0]


def test_prune_curves_are_those_of_the_bundled_model(pruned: dict[str, Any]) -> None:
    curves = importlib.import_module("_model").curves(True, 12)
    compare("prune", [image["curve"] for image in pruned["images"]], curves.numpy())


@pytest.mark.parametrize("path", sorted(MODULES.rglob("*.js")), ids=lambda path: path.name)
def test_modules_are_short_and_ask_no_other_host(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 200
    assert "https://" not in text and "http://" not in text.replace("http://www.w3.org/2000/svg", "")
