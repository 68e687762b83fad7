"""Traces of whole engines: right ones pass in every dtype, wrong ones are told, and where they part first is said."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from entropyprune_ref import RELEASED, EntropyPrune, token_entropy
from entropyprune_ref.hf.tracing import traced
from entropyprune_ref.pruning import kept_mask
from entropyprune_ref.scorers import Random
from entropyprune_ref.scoring import PAPER, ROW_NORMALIZED
from entropyprune_ref.traces import ARRAYS, Trace, TraceJudgement, judge_trace, load_trace, write_trace
from entropyprune_ref.traces.tolerances import rounding, score_tolerance
from tests.real.conftest import scene
from tests.real.test_prompts import QUESTION, reader_of
from tests.real.tiny import model_of

FAMILIES = ("llava_next", "qwen2_5_vl")
PRUNER = EntropyPrune(2, ratio=0.6)
Arrays = dict[str, Tensor]


def inputs_of(family: str, model: Any) -> dict[str, Any]:
    prompt = reader_of(family).prompt(QUESTION, images=[scene(60, 90), scene(80, 70, 4)])
    return prompt.inputs_for(model)


def engine(family: str, dtype: torch.dtype, attention: str, pruner: EntropyPrune = PRUNER) -> Trace:
    """The reference in some dtype and attention implementation, as an engine of its own."""
    model = model_of(family, dtype=dtype)
    model.set_attn_implementation(attention)
    return traced(model, inputs_of(family, model), pruner)


def completed(trace: Trace) -> Trace:
    """With what the command adds."""
    trace.record["model"] = {"name": "tiny", **trace.record["model"]}
    trace.record["prompt"] = {
        "question": QUESTION,
        "text": "",
        "kind": "images",
        "pictures": [],
        **trace.record["prompt"],
    }
    trace.record["answer"] = ""
    return trace


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def reference(family: str) -> Trace:
    return completed(engine(family, torch.float32, "sdpa"))


@pytest.fixture(scope="module")
def folder(reference: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trace(reference, tmp_path_factory.mktemp("traces") / "T")


Judge = Callable[..., TraceJudgement]


@pytest.fixture
def judged(folder: Path, tmp_path: Path) -> Judge:
    """Judges arrays as an engine would give them."""

    def call(arrays: Arrays, dtype: str = "float32", trace: Path = folder) -> TraceJudgement:
        number = json.loads((trace / "manifest.json").read_text())["id"]
        stored = {name: array.clone().contiguous() for name, array in arrays.items()}
        save_file(stored, tmp_path / "a.safetensors", {"format_version": "1", "trace": number, "dtype": dtype})
        return judge_trace(trace, tmp_path / "a.safetensors")

    return call


def test_traced_is_what_happened(family: str, reference: Trace, folder: Path) -> None:
    """Each array against the model itself or against mathematics on the others."""
    arrays, record = reference.arrays, reference.record
    model = model_of(family)
    inputs = inputs_of(family, model)
    assert torch.equal(arrays["input_ids"], inputs["input_ids"][0]) and set(arrays) == set(ARRAYS)
    visual = arrays["image_index"] >= 0
    placeholder = model.config.image_token_id
    assert torch.equal(visual, arrays["input_ids"] == placeholder) and arrays["image_index"].max() == 1
    assert torch.allclose(arrays["scores"], token_entropy(arrays["queries"]), rtol=0, atol=1e-6)
    keep = sum(len(arrays["image_index"][arrays["image_index"] == i]) for i in (0, 1)) * 4 // 10
    scores = torch.zeros(len(visual), dtype=torch.float64)
    scores[visual] = arrays["scores"]
    chosen = kept_mask(scores[None], arrays["image_index"][None], [keep])[0] & visual
    assert torch.equal(arrays["kept"], chosen.nonzero().flatten())
    left = int((~visual).sum()) + keep
    assert arrays["cache_lengths"].tolist() == [len(visual)] * 2 + [left] * 2
    assert arrays["left_positions"].shape[-1] == left
    assert torch.equal(arrays["logits"].argmax(1), arrays["tokens"])
    decoded = arrays["decode_positions"]
    assert (decoded.diff(dim=-1) == 1).all() and decoded.max() >= arrays["positions"].max() + 1
    for cut in record["cut"]:
        low, high = cut["lowest_kept"], cut["highest_dropped"]
        assert cut["gap"] == low["score"] - high["score"] >= 0
        assert scores[low["place"]] == low["score"] and scores[high["place"]] == high["score"]
    manifest = json.loads((folder / "manifest.json").read_text())
    jsonschema.validate(manifest, json.loads((folder / "manifest.schema.json").read_text()))
    read = load_trace(folder)
    assert all(torch.equal(read.arrays[name], arrays[name]) for name in ARRAYS)


@pytest.mark.parametrize("convention", [None, RELEASED, ROW_NORMALIZED], ids=["paper", "released", "row-normalized"])
def test_judge_trace_passes_right_engines_in_every_dtype(
    family: str, convention: Any, tmp_path: Path, judged: Judge
) -> None:
    """Off by at most three quarters of what is allowed, as the tolerances say of themselves."""
    pruner = replace(PRUNER, convention=convention)
    for mine in (torch.float32, torch.bfloat16) if convention is None else (torch.float32,):
        trace = write_trace(completed(engine(family, mine, "sdpa", pruner)), tmp_path / str(mine))
        every = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
        for yours in every if convention is None else (torch.float32, torch.bfloat16):
            found = judged(engine(family, yours, "eager", pruner).arrays, str(yours).removeprefix("torch."), trace)
            assert found.passed, found
            assert max(finding.error or 0 for finding in found.findings) <= 0.75, found


def rotated(queries: Tensor) -> Tensor:
    """Every token's heads turned by one rotation of its own."""
    generator = torch.Generator().manual_seed(1)
    turns = torch.linalg.qr(torch.randn(len(queries), *[queries.shape[-1]] * 2, generator=generator)).Q
    return queries @ turns


def test_judge_trace_passes_what_an_engine_may_do_otherwise(reference: Trace, judged: Judge) -> None:
    arrays = reference.arrays
    assert judged({"kept": arrays["kept"].int()}).passed  # alone, in another integer dtype
    assert judged({**arrays, "queries": rotated(arrays["queries"])}).passed  # after rotary embedding
    assert judged({**arrays, "logits": arrays["logits"] + 3}).passed  # shifted alike: softmax does not see it
    shorter = {**arrays, "tokens": arrays["tokens"][:5], "logits": arrays["logits"][:5]}
    assert [finding.status for finding in judged(shorter).findings][-2:] == ["parts", "agrees"]
    assert judged({name: shorter[name] for name in ("kept", "logits")}).passed


def test_judge_trace_forgives_an_exchange_only_where_scores_nearly_tie(
    reference: Trace, tmp_path: Path, judged: Judge
) -> None:
    """The same exchange at the cut, with a gap of a hundredth and of a hundred times what rounding explains."""
    arrays, record = dict(reference.arrays), reference.record
    places = (arrays["image_index"] >= 0).nonzero().flatten()
    low, high = (
        int((places == record["cut"][0][name]["place"]).nonzero()) for name in ("lowest_kept", "highest_dropped")
    )
    allowed = score_tolerance(arrays["queries"], PAPER, rounding("float32", "float32"))
    exchanged = arrays["kept"].clone()
    exchanged[exchanged == places[low]] = places[high]
    for factor, status in ((0.01, "near tie"), (100.0, "parts")):
        scores = arrays["scores"].clone()
        scores[low] = scores[high] + factor * float(allowed[[low, high]].max())
        trace = write_trace(Trace(record, {**arrays, "scores": scores}), tmp_path / "T")
        found = judged({"kept": exchanged.sort().values, "logits": arrays["logits"]}, trace=trace)
        statuses = {finding.array: finding.status for finding in found.findings}
        assert statuses["kept"] == status and statuses["logits"] == "not judged"
        assert found.passed == (status == "near tie")


# Wrong engines. Each is a name, where it parts first, and what it does.


def other_run(family: str, pruner: EntropyPrune) -> Arrays:
    return engine(family, torch.float32, "sdpa", pruner).arrays


def renumbered(arrays: Arrays, family: str) -> Arrays:
    count = arrays["left_positions"].shape[-1]
    return {**arrays, "left_positions": torch.arange(count).expand_as(arrays["left_positions"])}


def lowest(arrays: Arrays, family: str) -> Arrays:
    places = (arrays["image_index"] >= 0).nonzero().flatten()
    return {"kept": places[~torch.isin(places, arrays["kept"])][: len(arrays["kept"])]}


def with_scores(score: Callable[[Tensor], Tensor]) -> Callable[[Arrays, str], Arrays]:
    return lambda arrays, family: {**arrays, "scores": score(arrays["queries"].double())}


def uncentred(queries: Tensor) -> Tensor:
    values = torch.linalg.eigvalsh(queries @ queries.mT).clamp(min=1e-300)
    values = values / values.sum(1, keepdim=True)
    return -(values * values.log()).sum(1)


def one_more(arrays: Arrays, family: str) -> Arrays:
    places = (arrays["image_index"] >= 0).nonzero().flatten()
    extra = places[~torch.isin(places, arrays["kept"])][:1]
    return {"kept": torch.cat([arrays["kept"], extra]).sort().values}


def boundary_shifted(arrays: Arrays, family: str) -> Arrays:
    index = arrays["image_index"].clone()
    index[(index == 1).nonzero()[0]] = 0
    return {"image_index": index}


def unpruned(arrays: Arrays, family: str) -> Arrays:
    whole = other_run(family, EntropyPrune(2, ratio=0))
    return {"cache_lengths": whole["cache_lengths"], "logits": whole["logits"]}


def neighbours_queries(arrays: Arrays, family: str) -> Arrays:
    return {"queries": other_run(family, EntropyPrune(3, ratio=0.6))["queries"]}


def head_order(arrays: Arrays, family: str) -> Arrays:
    """Queries read with heads and features exchanged in memory."""
    tokens, heads, features = arrays["queries"].shape
    return {"queries": arrays["queries"].reshape(tokens, features, heads).mT}


WRONG: dict[str, tuple[str, Callable[[Arrays, str], Arrays]]] = {
    "another prompt template": ("input_ids", lambda a, f: {**a, "input_ids": a["input_ids"].roll(1)}),
    "a token of the next image counted to this one": ("image_index", boundary_shifted),
    "positions from one on": ("positions", lambda a, f: {"positions": a["positions"] + 1}),
    "queries of the prune layer": ("queries", neighbours_queries),
    "heads and features mixed up": ("queries", head_order),
    "one token's queries for another": ("queries", lambda a, f: {"queries": a["queries"].roll(1, 0)}),
    "the released formula": ("scores", with_scores(lambda q: token_entropy(q, RELEASED))),
    "rows normalised": ("scores", with_scores(lambda q: token_entropy(q, ROW_NORMALIZED))),
    "not centred": ("scores", with_scores(uncentred)),
    "bits for nats": ("scores", with_scores(lambda q: token_entropy(q) / 0.6931471805599453)),
    "features centred, not heads": ("scores", with_scores(lambda q: token_entropy(q.mT.contiguous()))),
    "scores of the right size in the wrong order": ("scores", lambda a, f: {"scores": a["scores"].flip(0)}),
    "lowest entropy kept": ("kept", lowest),
    "one token more": ("kept", one_more),
    "kept in order of score": ("kept", lambda a, f: {"kept": a["kept"].flip(0)}),
    "places within the images": ("kept", lambda a, f: {"kept": a["kept"] - int((a["image_index"] >= 0).nonzero()[0])}),
    "images compete": ("kept", lambda a, f: {"kept": other_run(f, replace(PRUNER, over_images="all"))["kept"]}),
    "chosen at random": (
        "kept",
        lambda a, f: {
            "kept": kept_mask(torch.rand(1, len(a["image_index"])), a["image_index"][None], [len(a["kept"])])[0]
            .logical_and(a["image_index"] >= 0)
            .nonzero()
            .flatten()
        },
    ),
    "kept against its own scores": ("kept", lambda a, f: {"scores": a["scores"], **one_swapped(a)}),
    "positions renumbered": ("left_positions", renumbered),
    "a text token lost": ("left_positions", lambda a, f: {"left_positions": a["left_positions"][..., 1:]}),
    "cache cut in every layer": (
        "cache_lengths",
        lambda a, f: {"cache_lengths": torch.full_like(a["cache_lengths"], int(a["cache_lengths"][-1]))},
    ),
    "pruned a layer late": ("cache_lengths", lambda a, f: {"cache_lengths": a["cache_lengths"][[0, 1, 1, 3]]}),
    "not pruned at all": ("cache_lengths", unpruned),
    "decoding goes on behind what is left": (
        "decode_positions",
        lambda a, f: {"decode_positions": a["decode_positions"] - len(a["input_ids"]) + a["left_positions"].shape[-1]},
    ),
    "another answer": ("tokens", lambda a, f: {"tokens": (a["tokens"] + 1) % a["logits"].shape[1]}),
    "logits of the unpruned model": (
        "logits",
        lambda a, f: {"logits": other_run(f, EntropyPrune(2, ratio=0))["logits"]},
    ),
    "logits pruned a layer late": (
        "logits",
        lambda a, f: {"logits": other_run(f, EntropyPrune(3, ratio=0.6))["logits"]},
    ),
    "logits of a step too early": ("logits", lambda a, f: {"logits": a["logits"].roll(1, 0)}),
}


def one_swapped(arrays: Arrays) -> Arrays:
    """The best token dropped for the worst."""
    places = (arrays["image_index"] == 0).nonzero().flatten()
    order = arrays["scores"][: len(places)].argsort()
    kept = arrays["kept"][arrays["kept"] != places[order[-1]]]
    return {"kept": torch.cat([kept, places[order[:1]]]).sort().values}


@pytest.mark.parametrize("name", WRONG)
def test_judge_trace_tells_wrong_engines_and_where_they_part_first(
    name: str, family: str, reference: Trace, judged: Judge
) -> None:
    where, wrong = WRONG[name]
    found = judged(wrong(dict(reference.arrays), family))
    assert not found.passed and found.first is not None
    assert found.first.array == where, found
    assert f"part first at {where}" in str(found)
    assert json.loads(found.to_json())["first"] == where


def test_judge_trace_names_the_token_that_is_far_from_the_cut(reference: Trace, judged: Judge) -> None:
    arrays = dict(reference.arrays)
    message = judged(one_swapped(arrays)).first.message  # type: ignore[union-attr]
    assert "with score" in message and "rounding explains" in message


# Bad input.


def test_traced_refuses_what_is_no_trace_of_the_method() -> None:
    model = model_of("llava_next")
    inputs = inputs_of("llava_next", model)
    with pytest.raises(ValueError, match="token entropy to be traced, got another scorer"):
        traced(model, inputs, EntropyPrune(2, ratio=0.5, scorer=Random(0)))
    with pytest.raises(ValueError, match="one prompt without padding"):
        traced(model, {**inputs, "attention_mask": torch.zeros_like(inputs["attention_mask"])}, PRUNER)
    words = torch.tensor([[1, 5, 6]])
    with pytest.raises(ValueError, match="an image or a video, got text alone"):
        traced(model, {"input_ids": words, "attention_mask": torch.ones_like(words)}, PRUNER)


@pytest.mark.parametrize(
    ("arrays", "metadata", "message"),
    [
        ({"kept": torch.ones(3)}, {}, "kept must hold integers, got torch.float32"),
        ({"scores": torch.ones(3, dtype=torch.int64)}, {}, "scores must hold floating-point numbers"),
        ({"scores": torch.full((3,), torch.nan)}, {}, "scores must be finite, got 3 numbers"),
        ({"scores": torch.ones(3)}, {}, r"scores must have shape \(\d+,\), got \(3,\)"),
        ({"entropies": torch.ones(3)}, {}, "arrays among input_ids, .*, got 'entropies'"),
        ({}, {}, "must hold at least one of input_ids"),
        ({"kept": torch.ones(3).long()}, {"trace": "x"}, "metadata trace '[0-9a-f]{16}', got 'x'"),
        ({"kept": torch.ones(3).long()}, {"dtype": "int8"}, "metadata dtype, one of float64, .*, got 'int8'"),
        ({"kept": torch.ones(3).long()}, {"format_version": "2"}, "metadata format_version '1', got '2'"),
    ],
)
def test_judge_trace_refuses_answers_that_are_none(
    arrays: Arrays, metadata: dict[str, str], message: str, folder: Path, tmp_path: Path
) -> None:
    number = json.loads((folder / "manifest.json").read_text())["id"]
    told = {"format_version": "1", "trace": number, "dtype": "float32", **metadata}
    save_file(arrays, tmp_path / "a.safetensors", told)
    with pytest.raises(ValueError, match=message):
        judge_trace(folder, tmp_path / "a.safetensors")


def test_write_trace_is_whole_or_refused(reference: Trace, tmp_path: Path) -> None:
    folder = write_trace(reference, tmp_path / "T")
    write_trace(reference, folder)  # again, over itself
    (tmp_path / "a.safetensors").write_text("no")
    with pytest.raises(ValueError, match="must be a safetensors file"):
        judge_trace(folder, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"must be a folder with a trace, got none with a readable manifest\.json"):
        judge_trace(tmp_path, tmp_path / "a.safetensors")
    with (folder / "trace.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match=r"trace\.safetensors must have the hash"):
        load_trace(folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"got .*T with notes\.txt"):
        write_trace(reference, folder)
    with pytest.raises(ValueError, match="got the file"):
        write_trace(reference, folder / "notes.txt")
    with pytest.raises(KeyError):
        write_trace(Trace(reference.record, {}), tmp_path / "half")
    assert {path.name for path in tmp_path.iterdir()} == {"T", "a.safetensors"}
