"""Tiny checkpoints of four families, written once, and pictures to ask about."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from entropyprune_ref.cli import main
from tests.real.tiny import save_checkpoint

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes the checkpoint of a family at its first use."""
    written: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in written:
            written[family] = save_checkpoint(family, tmp_path_factory.mktemp(family))
        return written[family]

    return folder


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with a bright square, so that patches differ."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / (9 + seed)), np.cos(columns / 14), np.sin((rows + columns) / (21 + seed))]
    picture = (127 + 90 * np.stack(waves, axis=-1)).astype(np.uint8)
    picture[height // 3 : height // 2, width // 4 : width // 2] = (250, 40 + 5 * seed, 30)
    return picture


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three images of different shapes, and one of five frames in it."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, (height, width) in {"a.png": (60, 90), "b.png": (80, 70), "c.png": (50, 120)}.items():
        Image.fromarray(scene(height, width)).save(folder / name)
    (folder / "film").mkdir()
    for number in range(5):
        Image.fromarray(scene(60, 80, number)).save(folder / "film" / f"{number}.png")
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process; returns exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call
