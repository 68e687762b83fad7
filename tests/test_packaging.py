"""The wheel holds the weights and the types, and works from another directory."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import entropyprune_ref

ROOT = Path(__file__).parents[1]
BUNDLED = ("model.safetensors", "model.json", "MODEL_CARD.md")
QUIET = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")


def _run(*command: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline, in a copy: setuptools leaves folders where it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "entropyprune_ref", source / "entropyprune_ref", ignore=ignored)
    _run(sys.executable, "-m", "pip", "wheel", *QUIET, "--no-build-isolation", "-w", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "pip", "install", *QUIET, "--target", folder, wheel, cwd=folder)
    return folder


def test_wheel_holds_every_module_the_types_and_the_weights(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "entropyprune_ref").rglob("*.py")}
    assert modules <= names
    assert "entropyprune_ref/py.typed" in names
    assert {f"entropyprune_ref/llava/bundled/{name}" for name in BUNDLED} <= names
    released = {str(path.relative_to(ROOT)) for path in (ROOT / "entropyprune_ref/oracle/vectors/released").iterdir()}
    assert len(released) >= 6 and released <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/", "tutorials/"))]


def test_wheel_has_the_version_of_the_package(wheel: Path) -> None:
    assert wheel.name.startswith(f"entropyprune_ref-{entropyprune_ref.__version__}-py3-none-any")


def test_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 9e6  # 8 MB of weights at most, and the text


def test_source_distribution_carries_no_test_that_it_cannot_run(tmp_path: Path) -> None:
    """The tests need the results, the site and the tutorials, which are not part of it; what it needs to build is."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "released")
    for name in ("entropyprune_ref", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    _run(sys.executable, "-c", "from setuptools import build_meta; build_meta.build_sdist('dist')", cwd=tmp_path)
    (built,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "entropyprune_ref/gram.py", "entropyprune_ref/py.typed"} <= names
    assert not [name for name in names if name.startswith("tests")]


CODE = """
import pathlib, entropyprune_ref
from entropyprune_ref import Llava
assert pathlib.Path(entropyprune_ref.__file__).is_relative_to({folder!r}), entropyprune_ref.__file__
model = Llava.from_pretrained()
print(model.config.decoder.head_dim // model.config.decoder.heads)
"""


def test_installed_package_loads_its_weights_from_another_directory(installed: Path, tmp_path: Path) -> None:
    printed = _run(sys.executable, "-c", CODE.format(folder=str(installed)), cwd=tmp_path, PYTHONPATH=str(installed))
    assert printed.strip() == "4"


def test_installed_command_runs_from_another_directory(installed: Path, tmp_path: Path) -> None:
    command = installed / "bin" / "entropyprune-ref"
    printed = _run(sys.executable, command, "flops", "--text", 81, cwd=tmp_path, PYTHONPATH=str(installed))
    assert "total" in printed


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _pins(name: str) -> dict[str, str]:
    """Names in lower case to versions; a file of pins holds nothing but pins and comments."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    pins = {line.split("==")[0].lower().replace("_", "-"): line.split("==")[1] for line in lines}
    assert len(pins) == len(lines)
    return pins


def _bounds(extras: Iterable[str]) -> dict[str, str]:
    """The declared dependencies with their lower bounds."""
    project = _project()
    wanted = {*project["dependencies"], *(r for extra in extras for r in project["optional-dependencies"][extra])}
    wanted = {entry for entry in wanted if not entry.startswith("entropyprune-ref[")}
    pairs = [re.fullmatch(r"([\w-]+)>=([\d.]+)(,<\d+)?", entry) for entry in wanted]
    assert all(pairs), wanted  # each has a lower bound
    return {pair[1]: pair[2] for pair in pairs if pair}


def test_pins_cover_every_dependency() -> None:
    pins = _pins("constraints.txt")
    assert not _bounds(_project()["optional-dependencies"]).keys() - pins.keys()
    assert pins["torch"] == "2.13.0"  # the exact pin is what finds a build for the CPU where pip has one


def test_oldest_pins_are_the_lower_bounds() -> None:
    """`make test-oldest` runs what is declared: `2.9` is declared, `2.9.0` is installed."""
    bounds, oldest = _bounds(["oracle", "interop", "test"]), _pins("constraints-oldest.txt")
    assert bounds.keys() == oldest.keys()
    for name, bound in bounds.items():
        assert oldest[name] == bound or re.fullmatch(rf"{re.escape(bound)}(\.[01])+", oldest[name]), name


def test_pre_commit_runs_the_ruff_of_the_pins() -> None:
    assert f"rev: v{_pins('constraints.txt')['ruff']}" in (ROOT / ".pre-commit-config.yaml").read_text()


def test_hosted_checks_call_the_targets_of_the_local_one() -> None:
    """One command surface: what .ci/run calls, the workflow calls too, and CONTRIBUTING.md names no other target."""
    makefile, guide = (ROOT / "Makefile").read_text(), (ROOT / "CONTRIBUTING.md").read_text()
    local = re.findall(r"^make ([\w-]+)$", (ROOT / ".ci/run").read_text(), flags=re.M)
    hosted = re.search(r"target: \[(.*)\]", (ROOT / ".github/workflows/check.yml").read_text())
    assert local and hosted and set(local) <= set(hosted[1].split(", "))
    named = {target for line in re.findall(r"`make ([^`]+)`", guide) for target in line.split()}
    for target in {*named, *hosted[1].split(", ")}:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_classifiers_name_no_python_below_the_one_that_is_required() -> None:
    project = _project()
    versions = [entry.rsplit(" ", 1)[1] for entry in project["classifiers"] if re.search(r":: 3\.\d+$", entry)]
    assert versions and all(tuple(map(int, version.split("."))) >= (3, 11) for version in versions)
    assert project["requires-python"] == ">=3.11"
