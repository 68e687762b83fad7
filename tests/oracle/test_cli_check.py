"""`entropyprune-ref check`: exit code 0 only if every law holds, 1 if not, 2 with one clear line for bad input."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from entropyprune_ref.cli import main
from entropyprune_ref.cli.check import CONTRACT_NAMES, write_whole
from entropyprune_ref.oracle import CONTRACTS

pytestmark = pytest.mark.usefixtures("few_laws")

RIGHT = "entropyprune_ref:matrix_entropy"
THEIRS = """
from entropyprune_ref import matrix_entropy, select_tokens, token_entropy
from entropyprune_ref.oracle import RELEASED

table = {}

def released(queries):
    return token_entropy(queries, RELEASED)

def wrong(features):
    return matrix_entropy(features) + 0.1

class Kernel:
    select = staticmethod(select_tokens)
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of someone else's, in the current folder."""
    (tmp_path / "kernels_of_theirs.py").write_text(THEIRS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "kernels_of_theirs", raising=False)
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["check", *arguments])
    code = stopped.value.code
    assert isinstance(code, int)
    return code


def test_contracts_in_the_help_are_those_of_the_oracle() -> None:
    assert tuple(CONTRACTS) == CONTRACT_NAMES


@pytest.mark.usefixtures("theirs")
def test_a_right_implementation_passes_with_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("matrix_entropy", RIGHT, "--quick", "--dtype", "float32") == 0
    assert "passed: " in capsys.readouterr().out
    assert run("select_tokens", "kernels_of_theirs:Kernel.select", "--quick") == 0
    released = ("token_entropy", "kernels_of_theirs:released", "--convention", "released")
    assert run(*released, "--quick", "--in-process") == 0


def test_a_wrong_implementation_fails_with_exit_code_1_and_reports(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["matrix_entropy", "kernels_of_theirs:wrong", "--quick", "--report", "r.json", "--junit", "r.xml"]
    assert run(*arguments) == 1
    shown = capsys.readouterr().out
    assert "FAILED" in shown and "off by 0.1" in shown and "from kernels_of_theirs import wrong as candidate" in shown
    assert json.loads((theirs / "r.json").read_text())["passed"] is False
    assert int(ElementTree.parse(theirs / "r.xml").getroot().attrib["failures"]) > 0
    assert not list(theirs.glob(".r.*"))


@pytest.mark.usefixtures("theirs")
def test_a_wrong_implementation_by_a_factor_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    Path("twice.py").write_text("import entropyprune_ref as r\ndef twice(f):\n    return 2 * r.matrix_entropy(f)\n")
    assert run("matrix_entropy", "./twice.py:twice", "--size", "quick", "--dtype", "fp32", "--in-process") == 1
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 40 and "from twice import twice as candidate" in shown
    assert shown.index("law 'value' does not hold") < shown.index("more in full")


def test_expected_failures_pass(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [law.name for law in CONTRACTS["matrix_entropy"].laws]
    holding = {"part by part", "empty batch"}
    excuses = [part for name in names if name not in holding for part in ("--expect", f"{name}=off by a tenth")]
    assert run("matrix_entropy", "kernels_of_theirs:wrong", "--quick", *excuses) == 0
    assert "fail as expected" in capsys.readouterr().out


BAD = {
    "nothing": ([], "check needs CONTRACT and MODULE:FUNCTION"),
    "contract": (["vanish", RIGHT], "contract must be one of matrix_entropy, token_entropy"),
    "no colon": (
        ["matrix_entropy", "entropyprune_ref"],
        "must be given as MODULE:FUNCTION or FILE.py:FUNCTION, got 'entropyprune_ref'",
    ),
    "no module": (["matrix_entropy", "nowhere.at_all:f"], "nowhere.at_all:f cannot be imported: ModuleNotFoundError"),
    "no function": (["matrix_entropy", "entropyprune_ref:vanish"], "cannot be imported: AttributeError"),
    "no callable": (["matrix_entropy", "kernels_of_theirs:table"], "must be callable, got dict"),
    "arity": (["collapse_layer", "entropyprune_ref.pruning:select_tokens"], "candidate must be callable as"),
    "dtype": (["matrix_entropy", RIGHT, "--dtype", "int8"], "dtype must be one of float64"),
    "convention": (["token_entropy", RIGHT, "--convention", "mine"], "convention must be one of paper"),
    "no convention": (["matrix_entropy", RIGHT, "--convention", "paper"], "convention must not be given for matrix_"),
    "no file": (["matrix_entropy", "./nowhere.py:f"], "./nowhere.py:f cannot be imported: there is no such file"),
    "two sizes": (["matrix_entropy", RIGHT, "--size", "thorough"], "--size and --quick must agree"),
    "seed": (["matrix_entropy", RIGHT, "--seed", str(2**64)], "seed must be an integer from 0 to 2^64 - 1"),
    "report is a folder": (["matrix_entropy", RIGHT, "--report", "."], "must be a file, got the folder ."),
    "report where none may write": (["matrix_entropy", RIGHT, "--junit", "/proc/r.xml"], "that can be written to"),
    "device": (["matrix_entropy", RIGHT, "--device", "abacus"], "device must be one that torch can use here"),
    "arrays": (["matrix_entropy", RIGHT, "--arrays", "lists"], "arrays must be one of 'torch', 'numpy', 'jax'"),
    "expect": (["matrix_entropy", RIGHT, "--expect", "value"], "--expect must be LAW=REASON, got 'value'"),
    "expect what": (["matrix_entropy", RIGHT, "--expect", "beauty=none"], "expected_failures must name laws"),
    "report": (["matrix_entropy", RIGHT, "--report", "no/where/r.json"], "must be in a folder that exists"),
    "self-test": (["matrix_entropy", "--self-test"], "--self-test must stand alone"),
    "vectors": (["matrix_entropy", "--vectors", "x.safetensors"], "--vectors must stand alone"),
}


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = BAD[name]
    assert run(*arguments, "--quick") == 2
    shown = capsys.readouterr()
    assert message in shown.err and len(shown.err.strip().splitlines()[-1:]) == 1 and "Traceback" not in shown.err


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.json"
    target.write_text("what was there")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(target, "half of it")
    assert target.read_text() == "what was there" and list(tmp_path.iterdir()) == [target]


WITHOUT = """
import sys
sys.modules["hypothesis"] = None
from entropyprune_ref.cli import main
main(["check", "matrix_entropy", "entropyprune_ref:matrix_entropy"])
"""


def test_without_the_extra_the_error_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.returncode == 2
    assert "needs hypothesis" in done.stderr and "pip install 'entropyprune-ref[oracle]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_self_test_lists_what_was_caught(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from entropyprune_ref import matrix_entropy
    from entropyprune_ref.oracle.bugs import MUTANTS, Mutant
    from entropyprune_ref.oracle.judging import selftest

    monkeypatch.setattr(selftest, "MUTANTS", MUTANTS[:2])
    assert run("--self-test", "--quick") == 0
    assert "2 of 2 caught." in capsys.readouterr().out
    monkeypatch.setattr(selftest, "MUTANTS", [MUTANTS[0], Mutant("none at all", "matrix_entropy", matrix_entropy)])
    assert run("--self-test", "--quick") == 1
    shown = capsys.readouterr().out
    assert "1 of 2 caught." in shown and "MISSED" in shown
