"""Vectors: what is written is whole, true and the same everywhere; what is wrong is refused or judged wrong."""

import json
import math
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from mpmath import mp
from safetensors.torch import save_file
from torch import Tensor

from entropyprune_ref import select_tokens
from entropyprune_ref.cli import main
from entropyprune_ref.oracle.bugs import MUTANTS
from entropyprune_ref.oracle.bugs.notes import NOTES
from entropyprune_ref.oracle.contracts import ALL_CONTRACTS
from entropyprune_ref.oracle.plain.prefill import PrunedPrefill
from entropyprune_ref.oracle.tolerances import acceptable_layers
from entropyprune_ref.oracle.vectors import RELEASED, VectorCase, judge, load
from entropyprune_ref.oracle.vectors.defining.case import DTYPES
from entropyprune_ref.oracle.vectors.judging.comparing import judged as difference
from entropyprune_ref.oracle.vectors.writing import folder as writing
from entropyprune_ref.oracle.vectors.writing.encoding import Tensors, decoded, encoded
from entropyprune_ref.oracle.vectors.writing.schema import CASES_SCHEMA, MANIFEST_SCHEMA
from entropyprune_ref.pruning import split_keep
from entropyprune_ref.scoring import CONVENTIONS
from tests.oracle.vector_bugs import BUGS

CONSUMER = Path(__file__).with_name("consumer.mjs")
CASES = load().cases
Answers = dict[str, Tensor]


def answered(case: VectorCase, implementation: Any = None) -> Answers:
    """What an implementation answers to a case, as a file of results would hold it; by default the reference."""
    try:
        return ALL_CONTRACTS[case.contract].answers(case.convention, deepcopy(dict(case.inputs)), implementation)
    except ValueError:
        return {"rejected": torch.ones(1, dtype=torch.int64)}


def all_answers() -> Answers:
    return {f"{case.id}.{name}": value for case in CASES.values() for name, value in answered(case).items()}


def write_results(path: Path, tensors: Mapping[str, Tensor], **metadata: str) -> Path:
    known = {"format_version": "2", "set": load().manifest["set"], "dtype": "float64"}
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, known | metadata)
    return path


@pytest.fixture(scope="module")
def reference_answers() -> Answers:
    return all_answers()


@pytest.fixture
def results(tmp_path: Path, reference_answers: Answers) -> Path:
    """A file with the reference's own answers."""
    return write_results(tmp_path / "results.safetensors", reference_answers)


@pytest.fixture(scope="module")
def now() -> dict[str, bytes]:
    """What is written now; made once."""
    return writing.contents()


@pytest.fixture
def quick(now: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing without computing everything again."""
    monkeypatch.setattr(writing, "contents", lambda: now)


# the released set


def test_released_set_is_what_is_written_now(now: dict[str, bytes]) -> None:
    """Bits where they are the same on every machine, values to tolerance where they are not."""
    then = {path.name: path.read_bytes() for path in RELEASED.iterdir()}
    assert now.keys() == then.keys(), "write the set again: entropyprune-ref vectors --out .../oracle/vectors/released"
    for name in ("inputs.safetensors", "cases.schema.json", "manifest.schema.json"):
        assert now[name] == then[name], name
    new, old = json.loads(now["manifest.json"]), json.loads(then["manifest.json"])
    assert new["generator"]["seed"] == old["generator"]["seed"]
    for name in new.keys() - {"files", "generator"}:
        assert new[name] == old[name], name


@pytest.mark.usefixtures("quick")
def test_released_values_are_those_of_the_reference_now(tmp_path: Path) -> None:
    writing.write(tmp_path / "now")
    written = load(tmp_path / "now").cases
    assert list(written) == list(CASES)
    for id, case in written.items():
        old = CASES[id]
        for name in ("contract", "convention", "comment", "flags", "verdict"):
            assert getattr(case, name) == getattr(old, name), id
        assert case.outputs.keys() == old.outputs.keys(), id
        given = {name: output.value for name, output in case.outputs.items()}
        assert not given or difference(old, given, "float64") is None, id
        for name, output in case.outputs.items():
            assert output.tolerance.keys() == old.outputs[name].tolerance.keys(), id
            for dtype, allowed in output.tolerance.items():  # part of it is what rounding did to the plain formula
                ratio = allowed / old.outputs[name].tolerance[dtype]
                assert bool(((ratio > 0.2) & (ratio < 5)).all()), (id, dtype)
        assert (case.cut is None) == (old.cut is None), id
        if case.cut is not None and old.cut is not None:
            for row, before in zip(case.cut.rows, old.cut.rows, strict=True):
                assert row.keep == before.keep
                torch.testing.assert_close(row.scores, before.scores, rtol=1e-9, atol=1e-9)


def test_released_set_is_small_and_packaged() -> None:
    assert sum(path.stat().st_size for path in RELEASED.iterdir()) < 350_000
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    data = project["tool"]["setuptools"]["package-data"]
    assert data["entropyprune_ref.oracle.vectors"] == ["released/*"]


def test_schemas_hold_for_the_released_set() -> None:
    for schema in (CASES_SCHEMA, MANIFEST_SCHEMA):
        jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((RELEASED / "cases.json").read_text()), CASES_SCHEMA)
    jsonschema.validate(json.loads((RELEASED / "manifest.json").read_text()), MANIFEST_SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "perhaps"},
        {"flags": ["NoSuchFlag"]},
        {"flags": []},
        {"id": "no slashes"},
        {"verdict": "must_reject"},
        {"verdict": "either"},
        {"inputs": {}},
        {"inputs": {"features": {"dtype": "float32", "shape": [1], "data": [1.0]}}},
        {
            "outputs": {
                "entropy": {"compare": "close", "unit": "nats", "value": {"dtype": "int64", "shape": [], "data": [1]}}
            }
        },
        {"more": 1},
    ],
)
def test_schema_refuses_what_is_no_case(change: dict[str, Any]) -> None:
    record = json.loads((RELEASED / "cases.json").read_text())
    record["cases"] = [record["cases"][0] | change]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(record, CASES_SCHEMA)


def test_cases_survive_encoding() -> None:
    for case in CASES.values():
        files = Tensors("inputs.safetensors"), Tensors("expected.safetensors")
        record = json.loads(json.dumps(encoded(case, *files), allow_nan=False))
        again = decoded(record, {file.file: file.by_name for file in files})
        assert str(again) == str(case)


def test_every_flag_is_used_and_every_verdict() -> None:
    assert {flag for case in CASES.values() for flag in case.flags} == NOTES.keys()
    assert {case.verdict for case in CASES.values()} == {"must_match", "must_reject", "either"}
    assert {case.contract for case in CASES.values()} == ALL_CONTRACTS.keys()


def test_known_wrong_names_are_those_of_the_catalogue() -> None:
    names = {mutant.name for mutant in MUTANTS}
    for flag, note in NOTES.items():
        assert set(note.known_wrong) <= names, flag


def test_inputs_are_exact_in_float32_unless_scores_nearly_tie() -> None:
    for id, case in CASES.items():
        for value in case.inputs.values():
            for tensor in value.values() if isinstance(value, dict) else [value]:
                if (
                    isinstance(tensor, Tensor)
                    and tensor.is_floating_point()
                    and id
                    not in (
                        "select_tokens/near_tie",
                        "collapse_layer/rounding",
                    )
                ):
                    assert torch.equal(tensor.float().double().nan_to_num(), tensor.nan_to_num()), id


# what is expected is true


def spectrum_by_mpmath(rows: Tensor, convention: str) -> Any:
    """The entropy of one matrix at 40 digits."""
    matrix = mp.matrix(rows.tolist())
    count, width = matrix.rows, matrix.cols
    means = [mp.fsum(matrix[i, j] for i in range(count)) / count for j in range(width)]
    for i in range(count):
        for j in range(width):
            matrix[i, j] -= means[j]
        norm = mp.sqrt(mp.fsum(matrix[i, j] ** 2 for j in range(width)))
        if convention == "row_normalized" and norm > 0:
            for j in range(width):
                matrix[i, j] /= norm
    gram = matrix * matrix.T
    total = count if convention == "released" else mp.fsum(gram[i, i] for i in range(count))
    if total == 0:
        return mp.mpf(0)
    levels = [level / total for level in mp.eigsy(gram, eigvals_only=True)]
    if convention == "released":
        return -mp.fsum(max(x, mp.mpf(10) ** -10) * mp.log(max(x, mp.mpf(10) ** -10)) for x in levels) / mp.log(count)
    return -mp.fsum(level * mp.log(level) for level in levels if level > mp.mpf(10) ** -30)


@pytest.mark.parametrize(
    "id", [id for id, case in CASES.items() if "entropy" in case.outputs and "llava" not in id and not case.recipes]
)
def test_expected_entropies_agree_with_mpmath(id: str) -> None:
    case = CASES[id]
    (rows,) = case.inputs.values()
    output = case.outputs["entropy"]
    with mp.workdps(40):
        exact = [float(spectrum_by_mpmath(part, case.convention or "")) for part in rows.reshape(-1, *rows.shape[-2:])]
    error = (output.value.flatten() - torch.tensor(exact, dtype=torch.float64)).abs()
    assert bool((error <= output.tolerance["float64"].flatten() / 2).all()), (error, output.tolerance)


@pytest.mark.parametrize("id", [id for id in CASES if "pruned_prefill" in id])
def test_expected_prefills_are_those_of_a_decoder_with_caches(id: str) -> None:
    case = CASES[id]
    kind = type("Cached", (PrunedPrefill,), {"convention": CONVENTIONS[case.convention or "paper"]})
    got = answered(case, lambda *inputs, **options: kind(*inputs, **options).run())
    assert difference(case, got, "float64") is None


def test_expected_selections_are_decided_by_more_than_rounding() -> None:
    for id, case in CASES.items():
        if case.cut is None or case.verdict == "either":
            continue
        for row in case.cut.rows:
            error = case.cut.score_error["float64"]
            assert row.gap is None or row.gap > 2 * error or error == 0, id
            if "near_tie" not in id and row.gap is not None and case.cut.score_error["float32"]:
                assert row.gap > 2 * case.cut.score_error["float32"], id


def test_expected_collapse_layers_are_the_only_ones_that_rounding_explains() -> None:
    for id, case in CASES.items():
        if case.contract == "collapse_layer" and case.verdict == "must_match":
            for dtype in DTYPES.values():
                layers = acceptable_layers(case.inputs["curves"].to(dtype))
                assert [layer for layer, fits in enumerate(layers) if fits] == [int(case.outputs["layer"].value)], id


def test_published_budgets_are_among_the_cases() -> None:
    published = {"llava_192": 166, "llava_128": 98, "llava_64": 29, "next_640": 490, "next_320": 149}
    for name, keep in published.items():
        assert int(CASES[f"tokens_to_keep/{name}"].outputs["keep"].value) == keep
    assert CASES["tokens_to_keep/next_160"].verdict == "must_reject"


def test_expected_kept_positions_are_those_of_plain_arithmetic() -> None:
    for case in CASES.values():
        if case.contract != "kept_positions" or not case.outputs:
            continue
        given = case.inputs
        index, attended, scores = (given[name].tolist() for name in ("image_index", "attended", "scores"))
        images = sorted({image for image in index if image >= 0})
        spans = [[i for i, image in enumerate(index) if image == own] for own in images]
        if given["over_images"] == "all":
            spans = [[i for i, image in enumerate(index) if image >= 0]]
        kept = {i for i, image in enumerate(index) if image < 0}
        for span, part in zip(spans, split_keep(given["keep"], [len(span) for span in spans]), strict=True):
            kept |= set(sorted(span, key=lambda i: (-scores[i], i))[:part])
        places = [i for i in sorted(kept) if attended[i]]
        assert case.outputs["places"].value.tolist() == places
        assert case.outputs["positions"].value.tolist() == [sum(attended[:i]) for i in places]
        lengths = [sum(attended)] * given["prune_layer"] + [len(places)] * (given["layers"] - given["prune_layer"])
        assert case.outputs["cache_lengths"].value.tolist() == lengths
        assert int(case.outputs["next_position"].value) == sum(attended)


# flags


def implementations(flag: str, case: VectorCase) -> dict[str, Any]:
    """The bugs that a flag names, for the contract and convention of a case."""
    known = {
        mutant.name: mutant.implementation
        for mutant in MUTANTS
        if mutant.contract == case.contract
        and mutant.convention.name == (case.convention or "paper")
        and mutant.name in NOTES[flag].known_wrong
    }
    own = BUGS.get((flag, case.contract, case.convention or ""))
    return known if own is None else known | {"own": own}


@pytest.mark.usefixtures("own_checks")  # a known-wrong implementation is to answer, not to be stopped by its types
@pytest.mark.parametrize("flag", NOTES)
def test_every_flag_names_a_bug_that_its_case_catches(flag: str) -> None:
    for id, case in CASES.items():
        if flag in case.flags:
            bugs = implementations(flag, case)
            assert bugs, f"{id}: no implementation of {flag}"
            wrong = [name for name, bug in bugs.items() if difference(case, answered(case, bug), "float64")]
            assert wrong, f"{id} passes {flag}: {list(bugs)}"


# judging


def test_judge_passes_the_reference(results: Path) -> None:
    found = judge(results)
    assert found.passed and len(found.verdicts) == len(CASES), str(found)
    assert f"passed: {len(CASES)} of {len(CASES)} cases" in str(found)


def in_float32(case: VectorCase) -> Answers:
    """Entropies by singular values in NumPy's float32; everything else as the reference has it."""
    got = answered(case)
    if "entropy" in got:
        (rows,) = (value.float().numpy() for value in case.inputs.values())
        rows = rows - rows.mean(-2, keepdims=True)
        if case.convention == "row_normalized":
            norm = np.linalg.norm(rows, axis=-1, keepdims=True)
            rows = rows / np.where(norm > 0, norm, 1)
        levels = np.linalg.svd(rows, compute_uv=False) ** 2
        if case.convention == "released":
            levels = np.maximum(levels / np.float32(rows.shape[-2]), np.float32(1e-10))
        else:
            total = levels.sum(-1, keepdims=True)
            levels = levels / np.where(total > 0, total, 1)
        entropy = -(levels * np.log(np.where(levels > 0, levels, 1))).sum(-1)
        if case.convention == "released":
            missing = rows.shape[-2] - levels.shape[-1]
            entropy = (entropy + missing * 1e-10 * math.log(1e10)) / np.log(np.float32(rows.shape[-2]))
        got["entropy"] = torch.from_numpy(np.asarray(entropy, dtype=np.float32))
    if case.contract == "select_tokens" and "kept" in got:
        got["kept"] = select_tokens(case.inputs["scores"].float(), case.inputs["keep"])
    return got


def test_judge_passes_a_float32_consumer_as_such_only(tmp_path: Path) -> None:
    tensors = {f"{case.id}.{name}": value for case in CASES.values() for name, value in in_float32(case).items()}
    found = judge(write_results(tmp_path / "r.safetensors", tensors, dtype="float32"))
    assert found.passed, str(found)
    assert not judge(write_results(tmp_path / "r.safetensors", tensors)).passed


def node() -> str:
    """Where Node is; a test that needs it fails without, it is not skipped."""
    found = shutil.which("node")
    assert found, "these tests run a consumer of the vectors in JavaScript and need Node 18 or newer: install node"
    return found


def consume(results: Path, *bug: str, vectors: Path = RELEASED) -> str:
    done = subprocess.run([node(), str(CONSUMER), str(vectors), str(results), *bug], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_judge_passes_a_foreign_consumer(tmp_path: Path) -> None:
    assert "cases answered, " in consume(tmp_path / "r.safetensors")
    found = judge(tmp_path / "r.safetensors")
    assert found.passed, str(found)


@pytest.mark.usefixtures("own_checks")  # known-wrong implementations are asked for likeness, and may take what comes
@pytest.mark.parametrize(
    "flag",
    ["Log2", "NoCentring", "OtherConvention", "RoundedBudget", "TieToLater", "PositionsRenumbered", "MlpMatrices"],
)
def test_judge_fails_a_foreign_consumer_with_a_bug(flag: str, tmp_path: Path) -> None:
    consume(tmp_path / "r.safetensors", flag)
    found = judge(tmp_path / "r.safetensors")
    failed = {failure.law for failure in found.failures}
    assert {id for id, case in CASES.items() if flag in case.flags} <= failed
    assert len(failed) < len(CASES) / 2
    assert flag in str(found)


def changed(answers: Answers, **changes: Tensor | None) -> Answers:
    """Other answers to the case `token_entropy/paper/few_heads`."""
    id = "token_entropy/paper/few_heads"
    answers = dict(answers)
    for name, value in changes.items():
        if value is None:
            del answers[f"{id}.{name}"]
        else:
            answers[f"{id}.{name}"] = value
    return answers


@pytest.mark.parametrize(
    "change, message",
    [
        ({"entropy": None}, "not answered"),
        ({"entropy": torch.zeros(4)}, "must have shape (5,), got (4,)"),
        ({"entropy": torch.zeros(5, dtype=torch.int64)}, "must have a floating dtype, got torch.int64"),
        ({"entropy": torch.full((5,), math.nan)}, "must be finite, got nan at index (0,)"),
        ({"entropy": torch.zeros(5)}, "nats at index (0,), got 0: off by 1.03, allowed 5.51e-14"),
        ({"entropy": None, "rejected": torch.ones(1)}, "rejected, although there is an answer"),
        ({"rejected": torch.ones(1)}, "must be rejected or answered, got both: entropy, rejected"),
        ({"entropy": None, "rejected": torch.zeros(1)}, "rejected must be a single 1, got [0.0]"),
    ],
)
def test_judge_says_what_is_wrong_with_an_answer(
    change: dict[str, Any], message: str, tmp_path: Path, reference_answers: Answers
) -> None:
    found = judge(write_results(tmp_path / "r.safetensors", changed(reference_answers, **change)))
    (failure,) = found.failures
    assert failure.law == "token_entropy/paper/few_heads" and message in failure.message, failure.message
    assert not found.passed and failure.law in str(found)
    assert json.loads(found.to_json())["passed"] is False and 'failures="1"' in found.to_junit()


def test_failure_names_case_flags_notes_and_likeness(tmp_path: Path, reference_answers: Answers) -> None:
    wrong = {"entropy": reference_answers["token_entropy/paper/few_heads.entropy"] / math.log(4)}
    (failure,) = judge(write_results(tmp_path / "r.safetensors", changed(reference_answers, **wrong))).failures
    text = str(failure)
    assert "DividedByLogHeads: the entropy is divided by log heads (units of log heads, not nats)" in text
    assert "known-wrong implementation(s): wrongly divided by log h" in text
    assert "inputs   queries float64 (5, 4, 6)" in text and "convention paper, computed in float64" in text
    namespace: dict[str, Any] = {}
    exec(failure.snippet, namespace)
    assert namespace["case"].id == failure.law


def test_either_passes_with_each_alternative_and_nothing_else(tmp_path: Path, reference_answers: Answers) -> None:
    answers = dict(reference_answers)
    for case in CASES.values():
        if case.verdict == "either":
            for alternative in case.alternatives:
                assert difference(case, alternative.values, "float64") is None
                other = {name: value + 100 for name, value in alternative.values.items()}
                assert difference(case, other, "float64") is not None
                answers |= {f"{case.id}.{name}": value for name, value in alternative.values.items()}
    assert judge(write_results(tmp_path / "r.safetensors", answers)).passed


def test_must_reject_is_no_invitation_to_answer(tmp_path: Path, reference_answers: Answers) -> None:
    answers = dict(reference_answers)
    del answers["tokens_to_keep/next_160.rejected"]
    answers["tokens_to_keep/next_160.keep"] = torch.tensor(0)
    (failure,) = judge(write_results(tmp_path / "r.safetensors", answers)).failures
    assert failure.message == "must be rejected, got 0" and "InfeasibleClipped" in str(failure)


def test_near_ties_are_judged_by_what_rounding_explains() -> None:
    case = CASES["select_tokens/near_tie"]
    assert difference(case, {"kept": torch.tensor([0, 2])}, "float32") is None
    assert difference(case, {"kept": torch.tensor([0, 2])}, "float64") is not None
    assert difference(case, {"kept": torch.tensor([2, 3])}, "float32") is not None
    assert difference(case, {"kept": torch.tensor([2, 1])}, "float32") is not None
    assert difference(case, {"kept": torch.tensor([1, 4])}, "float32") is not None


def test_expected_failures_and_chosen_contracts(tmp_path: Path, reference_answers: Answers) -> None:
    budgets = {name: value for name, value in reference_answers.items() if name.startswith("tokens_to_keep/")}
    path = write_results(tmp_path / "r.safetensors", budgets)
    assert judge(path, contracts=["tokens_to_keep"]).passed
    everything = judge(path)
    assert not everything.passed and "not answered: matrix_entropy/tall, " in str(everything)
    budgets["tokens_to_keep/llava_64.keep"] = torch.tensor(30)
    path = write_results(tmp_path / "r.safetensors", budgets)
    excuse = {"tokens_to_keep/llava_64": "we round"}
    assert judge(path, contracts=["tokens_to_keep"], expected_failures=excuse).passed
    excuse = {"tokens_to_keep/llava_192": "we round"}
    assert not judge(path, contracts=["tokens_to_keep"], expected_failures=excuse).passed
    with pytest.raises(ValueError, match="expected_failures must name cases, got nothing"):
        judge(path, expected_failures={"nothing": "no"})
    with pytest.raises(ValueError, match=r"contracts must be among matrix_entropy, .*, got nothing"):
        judge(path, contracts=["nothing"])


def one_line(error: pytest.ExceptionInfo[ValueError]) -> bool:
    return "\n" not in str(error.value)


@pytest.mark.parametrize("metadata", [{"format_version": "1"}, {"set": "0" * 64}, {"dtype": "float16"}])
def test_judge_refuses_results_of_another_kind(
    metadata: dict[str, str], tmp_path: Path, reference_answers: Answers
) -> None:
    (name,) = metadata
    with pytest.raises(ValueError, match=f"results must .*{name.split('_')[0]}") as error:
        judge(write_results(tmp_path / "r.safetensors", reference_answers, **metadata))
    assert one_line(error)


def test_judge_refuses_names_of_no_case(tmp_path: Path, reference_answers: Answers) -> None:
    answers = dict(reference_answers) | {"tokens_to_keep/llava_65.keep": torch.tensor(1)}
    with pytest.raises(ValueError, match=r"got tokens_to_keep/llava_65\.keep in"):
        judge(write_results(tmp_path / "r.safetensors", answers))


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "missing", "folder", "header"])
def test_judge_refuses_damaged_results(damage: str, results: Path) -> None:
    data = results.read_bytes()
    results.unlink()
    if damage == "folder":
        results.mkdir()
    elif damage != "missing":
        header = b"\xff" * 8 + data[8:]
        results.write_bytes({"truncated": data[:-9], "empty": b"", "text": b"hello", "header": header}[damage])
    with pytest.raises(ValueError, match="results must be a") as error:
        judge(results)
    assert one_line(error)


# reading and writing


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RELEASED, tmp_path / "vectors"))


def change_manifest(folder: Path, change: dict[str, Any]) -> None:
    """Another manifest, with its hash: as somebody would write it."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (folder / "SHA256SUMS").write_bytes(writing.sums({"manifest.json": path.read_bytes()}))


def test_load_notices_any_change_of_the_manifest(vectors: Path) -> None:
    path = vectors / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace("the mean over rows", "the mean over rowz"))
    with pytest.raises(ValueError, match=r"manifest.json must have the SHA-256 that SHA256SUMS lists"):
        load(vectors)
    path.write_text(text)
    (vectors / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match="must be a folder of vectors, got No such file or directory at SHA256SUMS"):
        load(vectors)


def test_sums_list_every_other_file(now: dict[str, bytes]) -> None:
    listed = dict(line.split("  ")[::-1] for line in now["SHA256SUMS"].decode().splitlines())
    assert listed == {name: sha256(data).hexdigest() for name, data in now.items() if name != "SHA256SUMS"}


@pytest.mark.parametrize("name", ["cases.json", "inputs.safetensors", "expected.safetensors", "cases.schema.json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_load_refuses_damaged_files(name: str, damage: str, vectors: Path) -> None:
    path = vectors / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data if damage == "flipped" else data[: len(data) // 2])
    with pytest.raises(ValueError, match=f"{name} must ") as error:
        load(vectors)
    assert one_line(error)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": "something"}, "must be the manifest of"),
        ({"format_version": 3}, "must have format_version 2, got 3"),
        ({"spec_version": "3.0"}, "must have spec_version 2.x, got 3.0"),
        ({"files": {}}, "must list cases.json"),
        ({"notes": None}, "must have 'notes', got None"),
        ({"cases": {"matrix_entropy": 7}}, "must hold 7 cases"),
        ({"cases": {"matrix_entropy": "7"}}, "must hold vectors as its schema says, got TypeError"),
        ({"set": "0" * 64}, "must hold the set 0000"),
        ({"notes": {}}, "must have a note on every flag, got none on AbsoluteEpsilon"),
    ],
)
def test_load_refuses_another_version(change: dict[str, Any], message: str, vectors: Path) -> None:
    change_manifest(vectors, change)
    with pytest.raises(ValueError, match=message) as error:
        load(vectors)
    assert one_line(error)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_load_refuses_a_manifest_that_is_none(text: str, vectors: Path) -> None:
    (vectors / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest.json must be "):
        load(vectors)
    with pytest.raises(ValueError, match="must be a folder of vectors"):
        load(vectors / "none")


def test_load_accepts_a_later_minor_version(vectors: Path) -> None:
    change_manifest(vectors, {"spec_version": "2.7"})
    assert list(load(vectors).cases) == list(CASES)


def test_write_gives_the_same_bytes_again(now: dict[str, bytes]) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        torch.manual_seed(7)
        assert writing.contents() == now
    finally:
        torch.set_num_threads(threads)


@pytest.mark.usefixtures("quick")
def test_write_replaces_vectors_and_fills_empty_folders(vectors: Path, tmp_path: Path) -> None:
    (vectors / "cases.json").write_text("damaged")
    for folder in (vectors, tmp_path / "empty", tmp_path / "new" / "deep"):
        if folder.name == "empty":
            folder.mkdir()
        writing.write(folder)
        assert len(load(folder).cases) == len(CASES)
        assert not list(folder.parent.glob(".*"))


def test_write_refuses_a_folder_with_other_files(vectors: Path, tmp_path: Path) -> None:
    (vectors / "mine.txt").write_text("mine")
    other, file = tmp_path / "other", tmp_path / "file"
    other.mkdir()
    (other / "manifest.json").write_text("{}")
    file.write_text("a file")
    for path, reason in ((vectors, "with mine.txt"), (other, "with manifest.json"), (file, "a file")):
        with pytest.raises(ValueError, match=f"must be a new or empty folder, or one of vectors, got .*{reason}"):
            writing.write(path)
    assert (vectors / "mine.txt").read_text() == "mine" and file.read_text() == "a file"


@pytest.mark.usefixtures("quick")
def test_write_leaves_what_is_there_when_it_fails(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in vectors.iterdir()}
    right = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("disk full")
        return right(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="disk full"):
        writing.write(vectors)
    assert {path.name: path.read_bytes() for path in vectors.iterdir()} == before
    assert [path.name for path in vectors.parent.iterdir()] == ["vectors"]


# the command line


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.mark.usefixtures("quick")
def test_vectors_command_writes_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("vectors", "--out", tmp_path / "set") == 0
    printed = capsys.readouterr().out
    assert f"Vectors: {tmp_path / 'set'}" in printed and str(len(CASES)) in printed
    assert run("vectors", "--out", tmp_path / "set", "--json") == 0
    assert json.loads(capsys.readouterr().out) == load(tmp_path / "set").manifest


def test_vectors_command_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run("vectors", "--out", tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "must be a new or empty folder" in error


def test_check_command_judges_results(
    results: Path, tmp_path: Path, reference_answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", "--vectors", results) == 0
    wrong = changed(reference_answers, entropy=torch.zeros(5))
    assert run("check", "--vectors", write_results(tmp_path / "wrong.safetensors", wrong)) == 1
    assert "token_entropy/paper/few_heads: " in capsys.readouterr().out
    results.write_bytes(results.read_bytes()[:-9])
    assert run("check", "--vectors", results) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "results must be a whole safetensors file" in error
