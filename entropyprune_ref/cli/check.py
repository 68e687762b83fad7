"""`entropyprune-ref check`: holds an implementation to the laws of a contract."""

import contextlib
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..traces import judge_trace
from ._shared import progress, say, show

CONTRACT_NAMES = (
    "matrix_entropy",
    "token_entropy",
    "layer_entropy",
    "collapse_layer",
    "tokens_to_keep",
    "select_tokens",
    "prefill_flops",
    "pruned_prefill",
)
"""Written out, so that `--help` needs no extra; a test compares them with the oracle's."""


@click.command()
@click.argument("contract", required=False)
@click.argument("target", required=False, metavar="[MODULE:FUNCTION]")
@click.option(
    "--convention",
    help="Formula: paper, row_normalized or released, for contracts that have one.  [default: paper]",
)
@click.option(
    "--dtype", default="float64", show_default=True, help="Of the inputs: float64, float32, bfloat16, float16."
)
@click.option(
    "--computes-in", help="What the function computes in; tolerances follow.  [default: float32, or --dtype if wider]"
)
@click.option("--device", default="cpu", show_default=True, help="Where the inputs are put.")
@click.option("--arrays", default="torch", show_default=True, help="What the function takes: torch, numpy or jax.")
@click.option("--size", default=None, help="Cases for each law: quick, default or thorough.  [default: default]")
@click.option("--quick", "flag", flag_value="quick", help="The same as --size quick.")
@click.option("--thorough", "flag", flag_value="thorough", help="The same as --size thorough.")
@click.option("--seed", default=0, show_default=True, help="Of the drawing of cases.")
@click.option("--time-limit", default=30.0, show_default=True, help="Seconds that one call may take.")
@click.option("--memory-limit", default=8.0, show_default=True, help="GiB that the function may use.")
@click.option("--in-process", is_flag=True, help="Call the function in this process, not in one of its own.")
@click.option("--expect", multiple=True, metavar="LAW=REASON", help="A law that is known not to hold; may be repeated.")
@click.option("--full", is_flag=True, help="Print every failure in full, and what the function printed.")
@click.option("--report", type=click.Path(path_type=Path), help="Write the report as JSON.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write the report as JUnit XML.")
@click.option("--self-test", is_flag=True, help="Check the oracle: every known-wrong implementation must be caught.")
@click.option("--all", "every", is_flag=True, help="With --self-test: in every setting, and the generated ones too.")
@click.option(
    "--vectors",
    "results",
    type=click.Path(path_type=Path),
    help="Judge the answers of another program to the shipped vectors, in a safetensors file.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Compare an engine with a trace: check --trace FOLDER ANSWERS, a safetensors file.",
)
@click.option("--vectors-dir", type=click.Path(path_type=Path), help="The vectors answered.  [default: those shipped]")
def check(
    contract: str | None,
    target: str | None,
    convention: str | None,
    dtype: str,
    computes_in: str | None,
    device: str,
    arrays: str,
    size: str | None,
    flag: str | None,
    seed: int,
    time_limit: float,
    memory_limit: float,
    in_process: bool,
    expect: tuple[str, ...],
    full: bool,
    report: Path | None,
    junit: Path | None,
    self_test: bool,
    every: bool,
    results: Path | None,
    trace: Path | None,
    vectors_dir: Path | None,
) -> int:
    """Check that MODULE:FUNCTION, or FILE.py:FUNCTION, implements CONTRACT: exit code 0 only if every law holds.

    Contracts: matrix_entropy, token_entropy, layer_entropy, collapse_layer, select_tokens, tokens_to_keep,
    prefill_flops, pruned_prefill.

    The function runs in a process of its own: a crash, a hang or runaway memory is a broken law like any other.
    """
    if trace is not None:
        return _check_trace(trace, contract, target, report)
    try:
        from .. import oracle
    except ModuleNotFoundError as error:
        raise click.UsageError(str(error)) from None
    if size is not None and flag is not None and size != flag:
        raise click.UsageError(f"--size and --{flag} must agree, got --size {size}")
    for path in (report, junit):
        if path is not None:
            require_writable(path, "--report and --junit")
    size = size or flag or "default"
    if self_test:
        _alone("--self-test", contract, results)
        return _self_test_of_all(report) if every else _self_test(size)
    if results is not None:
        _alone("--vectors", contract, None)
        found: Any = oracle.judge_vectors(results, vectors_dir, expected_failures=_expected(expect))
    else:
        if contract is None or target is None:
            raise click.UsageError("check needs CONTRACT and MODULE:FUNCTION, or --self-test, or --vectors FILE")
        candidate = _imported(target)
        with progress() as bar:
            found = oracle.check(
                contract,
                candidate,
                convention=convention,
                dtype=dtype,
                computes_in=computes_in,
                device=device,
                arrays=arrays,
                size=size,
                seed=seed,
                time_limit=time_limit,
                memory_limit=memory_limit,
                isolate=not in_process,
                expected_failures=_expected(expect),
                progress=lambda law, done, total: bar("laws", done, total),
            )
    say(found.in_full() if full and hasattr(found, "in_full") else str(found))
    if report is not None:
        write_whole(report, found.to_json() + "\n")
    if junit is not None:
        write_whole(junit, found.to_junit())
    return 0 if found.passed else 1


def _check_trace(folder: Path, answers: str | None, more: str | None, report: Path | None) -> int:
    """Compares an engine with a trace, which needs no extra."""
    if answers is None or more is not None:
        raise click.UsageError("--trace FOLDER must be followed by one file, the engine's answers, and nothing else")
    found = judge_trace(folder, answers)
    say(str(found))
    if report is not None:
        write_whole(report, found.to_json() + "\n")
    return 0 if found.passed else 1


def _alone(option: str, contract: str | None, results: Path | None) -> None:
    if contract is not None or results is not None:
        raise click.UsageError(f"{option} must stand alone, without CONTRACT and without another source of answers")


def _self_test(size: str) -> int:
    from ..oracle import self_test

    with progress() as bar:
        catches = self_test(size, progress=lambda name, done, total: bar("mutants", done, total))
    rows = [
        [
            f"{catch.mutant.contract}: {catch.mutant.name}",
            catch.mutant.convention.name,
            ", ".join(catch.laws) or "MISSED",
        ]
        for catch in catches
    ]
    show("Known-wrong implementations, and the laws that caught them", ["mutant", "convention", "laws broken"], rows)
    caught = sum(catch.caught for catch in catches)
    say(f"{caught} of {len(catches)} caught.")
    return 0 if caught == len(catches) else 1


def _self_test_of_all(report: Path | None) -> int:
    """Every known-wrong implementation in every setting; what comes of it can be written as the data of the package."""
    from ..oracle import measure_generated, measure_power

    with progress() as bar:
        power = measure_power(progress=lambda name, done, total: bar("settings", done, total))
        generated = measure_generated(progress=lambda name, done, total: bar("generated", done, total))
    rows = [
        [name, f"{len(entry['missed'])} of {entry['known']}", ", ".join(entry["missed"])]
        for name, entry in power["settings"].items()
    ]
    show("Known-wrong implementations that are missed, by setting", ["setting", "missed", "which"], rows)
    show_generated(generated)
    if report is not None:
        write_whole(report, json.dumps({"power": power, "generated": generated}, indent=1) + "\n")
    return 1 if generated["missed"] or any(entry["missed"] for entry in power["settings"].values()) else 0


def show_generated(record: dict[str, Any]) -> None:
    """Prints the table of generated bugs: by operator and contract, how many of those with a witness are caught."""
    rows = []
    total = dict.fromkeys(CONTRACT_NAMES, (0, 0))
    for kind, by_contract in record["table"].items():
        cells = [by_contract.get(name, (0, 0, 0, 0)) for name in CONTRACT_NAMES]
        pairs = [(caught, bugs - equal - left) for bugs, equal, caught, left in cells]
        rows.append([kind, *(f"{caught} of {bugs}" if bugs else "" for caught, bugs in pairs)])
        total = {n: (t[0] + c, t[1] + b) for (n, t), (c, b) in zip(total.items(), pairs, strict=True)}
    rows.append(["all", *(f"{caught} of {bugs}" for caught, bugs in total.values())])
    show("Generated bugs with a witness that are caught", ["operator", *CONTRACT_NAMES], rows)
    say(f"{len(record['equivalent'])} more have no witness; missed: {', '.join(record['missed']) or 'none'}.")


def _imported(target: str) -> Callable[..., Any]:
    """The function of a module, or of a file; what it prints on being imported goes to stderr."""
    module, colon, name = target.rpartition(":")
    if not (module and colon and name):
        raise click.UsageError(
            f"the implementation must be given as MODULE:FUNCTION or FILE.py:FUNCTION, got {target!r}"
        )
    folder, wanted = os.getcwd(), None
    if module.endswith(".py"):
        wanted = Path(module).absolute()
        folder, module = str(wanted.parent), wanted.stem
        if not wanted.is_file():
            raise click.UsageError(f"{target} cannot be imported: there is no such file")
    sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = importlib.import_module(module)
        if wanted is not None and Path(found.__file__ or "").resolve() != wanted.resolve():
            raise ImportError(f"another module of the name {module} is imported already")
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise click.UsageError(f"{target} cannot be imported: {type(error).__name__}: {reason}") from None
    finally:
        sys.path.remove(folder)
    if not callable(found):
        raise click.UsageError(f"{target} must be callable, got {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def _expected(entries: tuple[str, ...]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in entries]
    for entry, (law, equals, reason) in zip(entries, pairs, strict=True):
        if not (law and equals and reason):
            raise click.UsageError(f"--expect must be LAW=REASON, got {entry!r}")
    return {law: reason for law, _, reason in pairs}


def require_writable(path: Path, option: str) -> None:
    """Refuses a file that could not be written, before anything else is done.

    Raises:
        UsageError: Its folder does not exist or cannot be written to, or it is a folder itself.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise click.UsageError(f"{option} must be in a folder that exists, got {path}")
    if path.is_dir():
        raise click.UsageError(f"{option} must be a file, got the folder {path}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.UsageError(f"{option} must be in a folder that can be written to, got {path}: {error}") from None


def write_whole(path: Path, text: str) -> None:
    """Writes a file or leaves what was there: to a temporary file beside it, which is then renamed."""
    handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
