"""Judges the answers that a foreign program wrote to a file."""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...contracts import ALL_CONTRACTS
from ...judging.report import Verdict
from ...judging.resemblance import same_answer
from ...trial.arrays import shown
from ...trial.comparing import Difference
from ..defining.case import DTYPES, VectorCase
from ..reading import RELEASED, Vectors, load
from ..writing.folder import FORMAT_VERSION
from .comparing import judged
from .judgement import Judgement, VectorFailure

LIKENED = 3
"""Failures of each contract that are compared with the known-wrong implementations."""


def judge(
    results: Path | str,
    vectors: Path | str | None = None,
    *,
    contracts: Sequence[str] = (),
    expected_failures: Mapping[str, str] | None = None,
) -> Judgement:
    """Judges a file of results, case by case.

    Args:
        results: A safetensors file as `entropyprune_ref.oracle.vectors` describes it.
        vectors: Folder of the set that it answers; default: the released set.
        contracts: Which contracts are judged; default: all. Answers to others may be there, and are not looked at.
        expected_failures: Cases that are known to fail, with the reason. One that passes all the same is a failure.

    Returns:
        One verdict for each case. A case that is not answered has failed.

    Raises:
        ValueError: Results or vectors that are damaged, missing, or of another version; results of another set; a
            tensor that belongs to no case; an unknown contract or case.
    """
    path, read = Path(results), load(None if vectors is None else Path(vectors))
    found, dtype = _results(path, read)
    if unknown := sorted(set(contracts) - ALL_CONTRACTS.keys()):
        raise ValueError(f"contracts must be among {', '.join(ALL_CONTRACTS)}, got {', '.join(unknown)}")
    excuses = dict(expected_failures or {})
    if unknown := sorted(excuses.keys() - read.cases.keys()):
        raise ValueError(f"expected_failures must name cases, got {', '.join(unknown[:3])}")
    _require_known(path, found, read)
    verdicts: list[Verdict] = []
    likened: Counter[str] = Counter()
    for case in read.cases.values():
        if contracts and case.contract not in contracts:
            continue
        start = f"{case.id}."
        given = {name.removeprefix(start): tensor for name, tensor in found.items() if name.startswith(start)}
        wrong = judged(case, given, dtype)
        failure = None if wrong is None else _failure(wrong, case, given, dtype, path, read)
        if failure is not None and likened[case.contract] < LIKENED:
            likened[case.contract] += 1
            failure = replace(failure, resembles=_alike(case, given, dtype))
        verdicts.append(Verdict(case.id, case.comment, 1, failure, excuses.get(case.id), 0.0))
    spec, seed = read.manifest["spec_version"], read.manifest["generator"]["seed"]
    setting = f"vectors of spec {spec}, answers computed in {dtype}"
    size = "released" if vectors is None else str(read.folder)
    return Judgement("vectors", str(path), setting, size, seed, tuple(verdicts))


def _results(path: Path, read: Vectors) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file of results, and what they were computed in."""
    if not path.is_file():
        raise ValueError(f"results must be a safetensors file, got {path}, which is none or does not exist")
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            found = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, RuntimeError, TypeError) as error:
        raise ValueError(f"results must be a whole safetensors file, got {path}: {error}") from None
    if metadata.get("format_version") != str(FORMAT_VERSION):
        wanted = f"the metadata format_version {str(FORMAT_VERSION)!r}"
        raise ValueError(f"results must have {wanted}, got {metadata.get('format_version')!r} in {path}")
    if metadata.get("set") != read.manifest["set"]:
        where = "the released vectors" if read.folder == RELEASED else str(read.folder)
        raise ValueError(
            f"results must answer {where}, whose set is {read.manifest['set']}, got {metadata.get('set')!r} in {path}"
        )
    dtype = metadata.get("dtype")
    if dtype not in DTYPES:
        raise ValueError(f"results must have the metadata dtype, one of {', '.join(DTYPES)}, got {dtype!r} in {path}")
    return found, dtype


def _require_known(path: Path, found: Mapping[str, Tensor], read: Vectors) -> None:
    names = {
        f"{case.id}.{output}"
        for case in read.cases.values()
        for output in (*ALL_CONTRACTS[case.contract].named.outputs, "rejected")
    }
    if extra := sorted(found.keys() - names):
        raise ValueError(f"results must hold answers to cases only, got {', '.join(extra[:3])} in {path}")


def _failure(
    wrong: Difference, case: VectorCase, given: Mapping[str, Tensor], dtype: str, path: Path, read: Vectors
) -> VectorFailure:
    notes = read.manifest["notes"]
    flags = tuple((flag, f"{notes[flag]['bug']} ({notes[flag]['effect']})") for flag in case.flags)
    return VectorFailure(
        contract=case.contract,
        law=case.id,
        statement=case.comment,
        under=case.id,
        message=wrong.message,
        convention=case.convention or "",
        dtype=dtype,
        device="file",
        arrays="safetensors",
        seed=read.manifest["generator"]["seed"],
        family="vectors",
        numbers={},
        inputs=", ".join(f"{name} {shown(value)}" for name, value in case.inputs.items()),
        candidate=str(path),
        index=wrong.index,
        error=wrong.error,
        allowed=wrong.allowed,
        flags=flags,
        folder="" if read.folder == RELEASED else str(read.folder),
    )


def _alike(case: VectorCase, given: Mapping[str, Tensor], dtype: str) -> tuple[str, ...]:
    """Known-wrong implementations that answer the case as the results do."""
    from ...bugs import MUTANTS

    if not given or "rejected" in given:
        return ()
    alike = []
    for mutant in MUTANTS:
        if mutant.contract != case.contract or mutant.convention.name != (case.convention or "paper"):
            continue
        try:
            inputs = copy.deepcopy(dict(case.inputs))
            answered = ALL_CONTRACTS[case.contract].answers(case.convention, inputs, mutant.implementation)
        except Exception:
            continue
        same = (same_answer(given[name], answered[name], DTYPES[dtype]) for name in given if name in answered)
        if given.keys() <= answered.keys() and all(same):
            alike.append(mutant.name)
    return tuple(alike)
