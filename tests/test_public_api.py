"""What the rest of the world may rely on: the public names, their documentation, and what importing them costs."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import entropyprune_ref

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "entropyprune_ref"

PUBLIC = [
    "density_matrix",
    "matrix_entropy",
    "renyi_entropy",
    "effective_rank",
    "covariance_spectrum",
    "gram_spectrum",
    "spectrum",
    "Convention",
    "PAPER",
    "ROW_NORMALIZED",
    "RELEASED",
    "token_entropy",
    "layer_entropy",
    "collapse_layer",
    "Collapse",
    "tokens_to_keep",
    "select_tokens",
    "prefill_flops",
    "pruned_prefill_flops",
    "scoring_flops",
    "Llava",
    "LlavaConfig",
    "EntropyPrune",
]

STORY = (
    "_numerics",
    "gram",
    "entropy",
    "scoring",
    "collapse",
    "pruning",
    "flops",
    "scorers",
    "pruner",
    "llava",
    "traces",
    "hf",
    "world",
    "training",
    "evaluation",
    "pictures",
    "demo",
    "oracle",
    "cli",
    "__main__",
)
"""Every room may use those before it."""


def test_public_names_are_those_of_the_design() -> None:
    assert sorted(entropyprune_ref.__all__) == sorted([*PUBLIC, "__version__"])
    assert all(hasattr(entropyprune_ref, name) for name in PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_have_a_docstring(name: str) -> None:
    assert len((inspect.getdoc(getattr(entropyprune_ref, name)) or "").split()) >= 5


IMPORT = """
import sys, time
import entropyprune_ref
assert "torch" not in sys.modules, "the package alone imports no torch"
import torch
before = set(sys.modules)
start = time.process_time()
from entropyprune_ref import *
entropyprune_ref.scorers.EntropyScorer
print(time.process_time() - start)
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""


def test_import_is_quick_and_brings_nothing_heavy() -> None:
    """In seconds of the processor, on top of torch and numpy: a machine that is busy with something else adds none."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    seconds, modules = done.stdout.splitlines()
    heavy = {"hypothesis", "scipy", "pytest", "matplotlib", "transformers", "PIL", "rich", "click"}
    assert not heavy & set(modules.split())
    assert float(seconds) < 0.5


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_up_the_list_and_never_down(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[1] == "__init__":
        return
    room = STORY.index(parts[1])
    package = list(parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = package[: len(package) - node.level + 1] if node.level else []
        target = [*base, *(node.module.split(".") if node.module else [])]
        if target[0] != "entropyprune_ref" or len(target) < 2:
            continue
        assert STORY.index(target[1]) <= room, f"{path} imports {'.'.join(target)}"


def test_every_law_that_a_docstring_names_has_its_test() -> None:
    files = list((ROOT / "tests").rglob("test_*.py"))
    defined = {path.stem for path in files}
    defined |= {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}
    named = {name for path in PACKAGE.rglob("*.py") for name in re.findall(r"`(test_\w+)`", path.read_text())}
    assert sorted(named - defined) == []
