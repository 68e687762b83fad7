"""The wheel holds the weights and the types, and works from another directory."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

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


def test_pins_cover_every_dependency() -> None:
    def name(requirement: str) -> str:
        return requirement.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip().lower()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in pins)
    assert {name(requirement) for requirement in wanted} - {name(pin) for pin in pins} == {"entropyprune-ref"}
    assert "torch==2.13.0" in pins  # the exact pin is what finds a build for the CPU where pip has one
