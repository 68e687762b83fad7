"""Arguments, everywhere: numpy's numbers are numbers, and what is no argument is refused by name, at once."""

import dataclasses
import inspect
import math
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import entropyprune_ref
from entropyprune_ref import (
    PAPER,
    Convention,
    EntropyPrune,
    Llava,
    collapse_layer,
    layer_entropy,
    matrix_entropy,
    prefill_flops,
    pruned_prefill_flops,
    renyi_entropy,
    scoring_flops,
    select_tokens,
    token_entropy,
    tokens_to_keep,
)
from entropyprune_ref.collapse import other_definitions
from entropyprune_ref.flops import (
    CLIP_VIT_L_14_336,
    LLAVA_1_5_7B,
    DecoderSize,
    Flops,
    Formula,
    ProjectorSize,
    decode_flops,
    layer_flops,
    projector_flops,
    reduction,
    vision_flops,
)
from entropyprune_ref.gram import centred, density_matrix
from entropyprune_ref.llava import DecoderConfig, LlavaConfig, VisionConfig
from entropyprune_ref.pruning import (
    PrunePlan,
    average_tokens,
    gather_index,
    kept_mask,
    prune_plan,
    split_keep,
)
from entropyprune_ref.scorers import RIVALS, Duplication, Random
from tests.helpers import make_batch, random_llava, tiny_config
from tests.test_public_api import STORY
from tests.test_scorers import view_of

pytestmark = pytest.mark.usefixtures("own_checks")

CURVE = torch.tensor([3.0, 3.0, 1.0])
PROMPT = {"text_tokens": 3, "visual_tokens": 4}
each_integer = pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8], ids=lambda kind: kind.__name__)
each_real = pytest.mark.parametrize("real", [np.float64, np.float32], ids=lambda kind: kind.__name__)


# Numbers


@each_integer
def test_integers_of_numpy_are_integers(integer: type) -> None:
    """The answers are those for Python's integers, and are made of them: nothing can overflow later."""
    two, three, four = (integer(n) for n in (2, 3, 4))
    sizes = {"visual_tokens": integer(9), "layers": three, "prune_layer": integer(1)}
    assert tokens_to_keep(integer(5), **sizes) == 3 and type(tokens_to_keep(integer(5), **sizes)) is int
    assert average_tokens(three, **sizes) == Fraction(5)
    plan = prune_plan(keep=four, **sizes)
    assert (plan.prune_layer, plan.keep) == (1, 4) and {type(plan.prune_layer), type(plan.keep)} == {int}
    assert split_keep(integer(5), np.array([6, 4])) == [3, 2]
    assert select_tokens(torch.tensor([1.0, 3.0, 2.0]), two).tolist() == [1, 2]
    kept = kept_mask(torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.int64), np.array([2]))
    assert kept.tolist() == [[True, True, False]]
    pruner = EntropyPrune(two, four)
    assert pruner == EntropyPrune(2, 4) and type(pruner.layer) is int
    assert collapse_layer(CURVE, bootstrap=integer(10), seed=two) == collapse_layer(CURVE, bootstrap=10, seed=2)
    assert Random(two) == Random(2) and Duplication(two) == Duplication(2)
    assert renyi_entropy(torch.eye(4), two) == renyi_entropy(torch.eye(4), 2)


@each_integer
def test_flops_of_numpy_integers_do_not_overflow(integer: type) -> None:
    """Exact as ever, where int64, int32 and uint8 would have wrapped around."""
    size = DecoderSize(*map(integer, (32, 128, 32, 32, 4, 200)), vocabulary=integer(250))
    plain = DecoderSize(32, 128, 32, 32, 4, 200, vocabulary=250)
    assert size == plain and {type(value) for value in vars(size).values()} == {int}
    prompt = {"text_tokens": integer(200), "visual_tokens": integer(250)}
    wanted = {"text_tokens": 200, "visual_tokens": 250}
    assert prefill_flops(size, **prompt, lm_head="all") == prefill_flops(plain, **wanted, lm_head="all")
    pruning, planned = {"prune_layer": integer(2), "keep": integer(100)}, {"prune_layer": 2, "keep": 100}
    assert pruned_prefill_flops(size, **prompt, **pruning) == pruned_prefill_flops(plain, **wanted, **planned)
    assert decode_flops(size, **prompt, **pruning) == decode_flops(plain, **wanted, **planned)
    assert vision_flops(CLIP_VIT_L_14_336, integer(200)) == vision_flops(CLIP_VIT_L_14_336, 200)
    assert projector_flops(ProjectorSize(1024, 4096), integer(200)) == projector_flops(ProjectorSize(1024, 4096), 200)
    assert scoring_flops(size, integer(250), eigen_cost=integer(9)) == scoring_flops(plain, 250)
    assert layer_flops(size, integer(200), cached=integer(200)) == layer_flops(plain, 200, cached=200)
    assert integer(200) * Flops(mlp=10**18) == Flops(mlp=200 * 10**18)
    assert reduction(integer(200), integer(50)) == Fraction(3, 4)
    assert Formula("x", flops_per_multiply_add=integer(1), mlp_matrices=integer(2)) == Formula("x", 1, mlp_matrices=2)


@each_integer
def test_configurations_of_numpy_integers_can_be_saved(integer: type) -> None:
    vision = VisionConfig(*map(integer, (8, 2, 2, 12, 6, 2)))
    decoder = DecoderConfig(*map(integer, (3, 12, 4, 2, 6, 10)), vocabulary=integer(12))
    config = LlavaConfig(vision, decoder, image_token=integer(3))
    assert LlavaConfig.from_json(config.to_json()) == config == replace(tiny_config(), vocabulary=())


@each_real
def test_real_numbers_of_numpy_are_read_as_the_decimals_that_they_print_as(real: type) -> None:
    """0.9 in single precision is 0.9 too, not 0.89999998."""
    sizes = {"visual_tokens": 576, "layers": 32, "prune_layer": 2}
    assert tokens_to_keep(real(192), **sizes) == 166
    assert tokens_to_keep(real(72.5), **sizes) == tokens_to_keep(72.5, **sizes)
    for ratio, keep in ((0.9, 5), (0.1, 45), (0.0, 50), (1.0, 0)):
        assert prune_plan(ratio=real(ratio), visual_tokens=50, layers=28, prune_layer=1).keep == keep
    assert EntropyPrune(1, ratio=real(0.9)).plan(50, 28).keep == 5
    assert renyi_entropy(torch.eye(4), real(0.5)) == renyi_entropy(torch.eye(4), 0.5)
    assert collapse_layer(CURVE, confidence=real(0.5)) == collapse_layer(CURVE, confidence=0.5)
    assert other_definitions(CURVE, share=real(0.5)) == other_definitions(CURVE)
    assert Convention("mine", False, False, real(0.5), False).clamp == 0.5


@pytest.mark.parametrize("truth", [True, np.True_], ids=["bool", "numpy.bool"])
def test_truth_values_are_no_numbers(truth: Any) -> None:
    sizes = {"visual_tokens": 9, "layers": 3, "prune_layer": 1}
    for call in (
        lambda: tokens_to_keep(truth, **sizes),
        lambda: prune_plan(average=truth, **sizes),
        lambda: prune_plan(ratio=truth, **sizes),
        lambda: prune_plan(keep=truth, **sizes),
        lambda: select_tokens(torch.ones(3), truth),
        lambda: renyi_entropy(torch.eye(3), truth),
        lambda: collapse_layer(CURVE, confidence=truth),
        lambda: other_definitions(CURVE, share=truth),
        lambda: Random(truth),
        lambda: Flops(mlp=truth),
        lambda: Convention("mine", False, False, truth, False),
    ):
        with pytest.raises(TypeError, match=r"must be an int.*, got bool_? (np\.)?True"):
            call()


# Names

PACKAGE = Path(entropyprune_ref.__file__).parent
ROOMS = (*STORY[: STORY.index("llava") + 1], "evaluation")
MODULES = [f"entropyprune_ref.{room}" for room in ROOMS] + [
    found.name
    for room in ROOMS
    for found in pkgutil.iter_modules([str(PACKAGE / room)], prefix=f"entropyprune_ref.{room}.")
    if not found.name.rpartition(".")[2].startswith("_")
]


@pytest.mark.parametrize("module", MODULES)
def test_every_argument_can_be_given_by_name(module: str) -> None:
    found = [each for each in vars(import_module(module)).values() if getattr(each, "__module__", None) == module]
    functions = [each for each in found if inspect.isfunction(each)]
    methods = [each for kind in found if inspect.isclass(kind) for each in vars(kind).values()]
    for function in [*functions, *(each for each in methods if inspect.isfunction(each))]:
        kinds = {parameter.kind for parameter in inspect.signature(function).parameters.values()}
        assert inspect.Parameter.POSITIONAL_ONLY not in kinds, function


RESULTS = {"Cache", "DecoderOutput", "Generation", "LayerCache", "LayerSpan", "LlavaOutput", "Outcome", "Reading"}
"""What is written while a model runs; everything else is a value, and frozen."""


@pytest.mark.parametrize("module", MODULES)
def test_dataclasses_are_frozen_but_for_results(module: str) -> None:
    for kind in filter(inspect.isclass, vars(import_module(module)).values()):
        if kind.__module__ == module and dataclasses.is_dataclass(kind):
            assert kind.__dataclass_params__.frozen == (kind.__name__ not in RESULTS), kind


VALUES = (
    PrunePlan(1, 2),
    PAPER,
    collapse_layer(CURVE),
    EntropyPrune(1, 2),
    LLAVA_1_5_7B,
    CLIP_VIT_L_14_336,
    ProjectorSize(1, 2),
    Flops(),
    Formula("x"),
    tiny_config(),
    tiny_config().vision,
    tiny_config().decoder,
    Random(),
    Duplication(),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_cannot_be_changed_and_can_be_keys(value: Any) -> None:
    """What was judged once stays as it was."""
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
    assert {value: 1}[dataclasses.replace(value)] == 1


# What is no argument

PRUNED = {"prune_layer": 1, "keep": 2}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: prefill_flops(5, **PROMPT), TypeError, "size must be a DecoderSize, got int 5"),
        (lambda: pruned_prefill_flops("7b", **PROMPT, **PRUNED), TypeError, "size must be a DecoderSize, got str '7b'"),
        (lambda: decode_flops(None, **PROMPT), TypeError, "size must be a DecoderSize, got NoneType None"),
        (lambda: layer_flops(5, 1), TypeError, "size must be a DecoderSize, got int 5"),
        (lambda: scoring_flops(5, 1), TypeError, "size must be a DecoderSize, got int 5"),
        (lambda: vision_flops(5, 1), TypeError, "size must be a VisionSize, got int 5"),
        (lambda: projector_flops(5, 1), TypeError, "size must be a ProjectorSize, got int 5"),
        (lambda: prefill_flops(LLAVA_1_5_7B, **PROMPT, vision=5), TypeError, "vision must be a VisionSize, got int 5"),
        (
            lambda: prefill_flops(LLAVA_1_5_7B, **PROMPT, projector=5),
            TypeError,
            "projector must be a ProjectorSize, got int 5",
        ),
        (lambda: Flops(mlp=1.5), TypeError, "mlp must be an int, got float 1.5"),
        (lambda: Flops(mlp=-1), ValueError, "mlp must be at least 0, got -1"),
        (lambda: reduction(10, -1), ValueError, "pruned must be at least 0, got -1"),
        (lambda: reduction(10, "1"), TypeError, "pruned must be an int, got str '1'"),
        (lambda: split_keep(1, 5), TypeError, "visual_tokens_per_image must be a sequence, got int 5"),
        (lambda: split_keep(1, "5"), TypeError, "visual_tokens_per_image must be a sequence, got str '5'"),
        (
            lambda: kept_mask(torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.int64), 2),
            TypeError,
            "keep must be a sequence, got int 2",
        ),
        (
            lambda: kept_mask(torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.complex64), [2]),
            ValueError,
            "image_index must have an integer dtype, got torch.complex64",
        ),
        (
            lambda: decode_flops(LLAVA_1_5_7B, **PROMPT, prune_layer=32, keep=1),
            ValueError,
            "prune_layer must be between 1 and 31, got 32",
        ),
        (
            lambda: decode_flops(LLAVA_1_5_7B, **PROMPT, prune_layer=0, keep=1),
            ValueError,
            "prune_layer must be between 1 and 31, got 0",
        ),
        (lambda: Convention("x", False, True, "3", False), TypeError, "clamp must be an int or a float, got str '3'"),
        (lambda: Convention("x", "3", True, None, False), TypeError, "row_normalized must be a bool, got str '3'"),
        (lambda: Convention("x", False, 1, None, False), TypeError, "trace_normalized must be a bool, got int 1"),
        (lambda: Convention("x", False, True, None, None), TypeError, "log_heads must be a bool, got NoneType None"),
        (lambda: Convention(3, False, True, None, False), TypeError, "name must be a str, got int 3"),
        (lambda: EntropyPrune(1, 2, convention=""), TypeError, "convention must be a Convention, got str ''"),
        (lambda: EntropyPrune(1, 2, convention="paper"), TypeError, "convention must be a Convention, got str 'paper'"),
        (lambda: EntropyPrune(1, 2, scorer=5), TypeError, "scorer must be a function of a LayerView, got int"),
        (lambda: EntropyPrune(1, 2, over_images=["each"]), ValueError, "over_images must be one of 'each', 'all', got"),
        (lambda: EntropyPrune(1, 2, lower_prune_layer=1), TypeError, "lower_prune_layer must be a bool, got int 1"),
        (
            lambda: Random(2**64),
            ValueError,
            "seed must be between 0 and 18446744073709551615, got",
        ),
        (lambda: collapse_layer(CURVE, seed=2**64), ValueError, "seed must be between 0 and 18446744073709551615, got"),
        (lambda: VisionConfig(norm_eps=0.0), ValueError, "vision.norm_eps must be positive and finite, got 0.0"),
        (lambda: VisionConfig(layers="3"), TypeError, "vision.layers must be an int, got str '3'"),
        (
            lambda: replace(tiny_config().decoder, rope_theta=math.inf),
            ValueError,
            "rope_theta must be positive and finite, got inf",
        ),
        (
            lambda: replace(tiny_config().decoder, norm_eps="small"),
            TypeError,
            "norm_eps must be an int or a float, got str 'small'",
        ),
        (lambda: replace(tiny_config(), vocabulary=["a"]), TypeError, "vocabulary must be a tuple, got list"),
        (lambda: replace(tiny_config(), vocabulary=(1,)), TypeError, "vocabulary must be a str, got int 1"),
        (lambda: replace(tiny_config(), decoder={}), TypeError, "decoder must be a DecoderConfig, got dict"),
    ],
)
def test_what_is_no_argument_is_refused_by_name(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)


def test_a_scorer_must_return_a_tensor() -> None:
    batch = make_batch([[2, -1, 1]], tiny_config(), 0)
    pruner = EntropyPrune(1, 4, scorer=lambda view: [[0.0] * 12])
    with pytest.raises(TypeError, match=r"scorer\(view\) must be a torch\.Tensor, got list"):
        random_llava(tiny_config())(batch.images, batch.ids, pruner=pruner)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("features", matrix_entropy),
        ("features", density_matrix),
        ("features", centred),
        ("queries", lambda values: token_entropy(values[None])),
        ("states", lambda values: layer_entropy(values[None])),
        ("curves", collapse_layer),
        ("scores", lambda values: select_tokens(values, 1)),
        ("scores", lambda values: kept_mask(values, torch.zeros(3, 4, dtype=torch.int64), [1, 1, 1])),
        ("kept", lambda values: gather_index(values.bool())),
        ("questions", lambda values: random_llava(tiny_config())(None, values.long())),
    ],
)
def test_tensors_that_are_not_dense_are_refused_by_name(name: str, call: Callable[[Any], object]) -> None:
    dense = torch.eye(3, 4)
    sparse = [dense.to_sparse()] if name in ("queries", "states") else [dense.to_sparse(), dense.to_sparse_csr()]
    for values in sparse if name not in ("kept", "questions") else sparse[:1]:
        with pytest.raises(ValueError, match=rf"{name} must be a dense tensor, got torch\.sparse_"):
            call(values)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_nested_tensors_are_refused_by_name() -> None:
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])
    for call, name in ((matrix_entropy, "features"), (token_entropy, "queries"), (gather_index, "kept")):
        with pytest.raises(ValueError, match=f"{name} must be a dense tensor, got a nested one"):
            call(nested)


def test_centring_that_leaves_the_range_of_float64_is_refused() -> None:
    """The largest number, twice, and its opposite: their mean is a third, and 4/3 of the largest is no number."""
    largest = torch.finfo(torch.float64).max
    column = torch.tensor([[largest], [largest], [-largest]], dtype=torch.float64)
    with pytest.raises(ValueError, match="features must stay in the range of float64 when their mean is subtracted"):
        centred(column)
    assert centred(column[1:]).tolist() == [[largest], [-largest]]
    assert density_matrix(column).tolist() == [[1.0]]  # up to scale there is no such limit
    assert matrix_entropy(torch.cat([column, column.flip(0)], 1)).isfinite()


# Masks, positions and tokens of the wrong kind


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"attended": torch.full((1, 12), math.nan)},
            TypeError,
            "attended must hold booleans, or integers 0 and 1",
        ),
        (
            {"attended": torch.ones(1, 12)},
            TypeError,
            "attended must hold booleans, or integers 0 and 1",
        ),
        (
            {"attended": torch.full((1, 12), 2)},
            ValueError,
            "integers 0 and 1, got 2 to 2",
        ),
        ({"positions": torch.arange(12.0)[None]}, TypeError, "positions must hold integers, got torch.float32"),
        ({"positions": torch.ones(1, 12, dtype=torch.bool)}, TypeError, "positions must hold integers, got torch.bool"),
    ],
)
def test_masks_and_positions_must_hold_what_they_mean(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    batch = make_batch([[2, -1, 1]], tiny_config(), 0)
    with pytest.raises(error) as raised:
        random_llava(tiny_config())(batch.images, batch.ids, **given)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        (torch.tensor([[4, 5]]), ValueError, "tokens must have shape (batch, 1) = (1, 1), got (1, 2)"),
        (torch.tensor([[4], [5]]), ValueError, "tokens must have shape (batch, 1) = (1, 1), got (2, 1)"),
        (torch.tensor([4]), ValueError, "tokens must have shape (batch, 1) = (1, 1), got (1,)"),
        (torch.tensor([[12]]), ValueError, "tokens must hold ids in [0, 11], got 12 to 12"),
        (torch.tensor([[1.0]]), TypeError, "tokens must hold integer token ids, got torch.float32"),
        ([[4]], TypeError, "tokens must be a torch.Tensor, got list"),
    ],
)
def test_step_takes_one_token_a_row(tokens: Any, error: type[Exception], message: str) -> None:
    """Two tokens would both stand at the one next position."""
    model, batch = random_llava(tiny_config()), make_batch([[2, -1, 1]], tiny_config(), 0)
    cache = model(batch.images, batch.ids).cache
    with pytest.raises(error) as raised:
        model.step(tokens, cache)
    assert message in str(raised.value)
    assert cache.lengths() == [12, 12, 12]  # nothing was appended


# Files


def test_save_takes_a_path_as_text_and_names_a_folder_that_is_not_there(tmp_path: Path) -> None:
    model = random_llava(tiny_config())
    model.save(str(tmp_path / "model.safetensors"))
    assert Llava.from_pretrained(str(tmp_path / "model.safetensors")).config == model.config
    with pytest.raises(ValueError, match="path must lie in an existing folder, got"):
        model.save(tmp_path / "none" / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


# Settings of torch that are not the package's


@pytest.fixture
def another_default_device() -> Iterator[None]:
    """As after `torch.set_default_device("cuda")`; meta stands for any device that a machine may lack."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device("cpu")


@pytest.mark.usefixtures("another_default_device")
def test_the_default_device_does_not_matter() -> None:
    """What is computed lives where the arguments live."""
    curves = torch.tensor([[3.0, 3.0, 1.0], [3.0, 2.5, 1.0]], device="cpu")
    assert collapse_layer(curves).layer == 2
    assert other_definitions(curves)["change_point"] is not None
    layout = [[-1, 0, 0, 0, 0, -1]]
    with torch.device("cpu"):
        view = view_of(layout, seed=0)
        expected = {name: scorer(view) for name, scorer in RIVALS.items()}
    for name, scorer in RIVALS.items():
        assert torch.equal(scorer(view), expected[name]), name
    scores = token_entropy(view.queries.transpose(1, 2), PAPER)
    assert torch.equal(scores[view.visual], -expected["lowest-entropy"][view.visual])


def test_the_default_device_does_not_matter_to_a_model() -> None:
    model = random_llava(tiny_config())
    images, texts = make_batch([[1, -1], [1, -1]], tiny_config(), 0).images, ["what color", "what color is circle"]
    answers = []
    for device in ("cpu", "meta"):
        torch.set_default_device(device)
        try:
            answers.append(model.generate(images, texts, pruner=EntropyPrune(1, 4), max_new_tokens=3))
        finally:
            torch.set_default_device("cpu")
    assert torch.equal(answers[0].tokens, answers[1].tokens)
    assert torch.equal(answers[0].prefill.logits, answers[1].prefill.logits)


@pytest.mark.parametrize("attention", ["explicit", "fused"])
def test_a_model_runs_under_autocast(attention: Any) -> None:
    """Logits are off by the rounding of bfloat16, 2^-8, some layers over; token entropy stays float64."""
    config = replace(tiny_config(), attention=attention)
    model, batch = random_llava(config, 0, torch.float32), make_batch([[2, -1, 1], [1, -1]], config, 0)
    prompt = {"questions": batch.ids, "attended": batch.attended}
    exact = model(batch.images, **prompt).logits[batch.attended]
    with torch.autocast("cpu", torch.bfloat16):
        out = model(batch.images, **prompt)
        pruned = model(batch.images, **prompt, pruner=EntropyPrune(1, 4))
        assert model.step(batch.ids[:, :1], pruned.cache).isfinite().all()
        queries = torch.randn(5, 8, 16, generator=torch.Generator().manual_seed(0))
        scores = token_entropy(queries)
    assert torch.equal(scores, token_entropy(queries))
    error = (out.logits[batch.attended].float() - exact).norm() / exact.norm()
    assert 0 < error < 30 * torch.finfo(torch.bfloat16).eps
    assert pruned.logits.isfinite().all()
