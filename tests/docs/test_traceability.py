"""From every equation to its code, its page and its tests, and back: nothing numbered stands alone."""

import importlib
import re
import sys
from pathlib import Path

# Before the package: whatever one of its modules is the first to import is compiled anew, since the hook that checks
# shapes keeps compiled code apart while it executes a module.
import matplotlib.pyplot  # noqa: F401
import pytest
import rich.progress  # noqa: F401
import scipy.stats  # noqa: F401
import transformers.masking_utils  # noqa: F401
from mkdocs.exceptions import PluginError

import entropyprune_ref

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "hooks"))
traceability = importlib.import_module("traceability")
reference = importlib.import_module("reference")

EQUATIONS = traceability.equations()
DEFINED = traceability.tests()


def test_equations_are_those_of_the_method() -> None:
    assert set(EQUATIONS) == set(traceability.TITLES)


@pytest.mark.parametrize("number", traceability.TITLES)
def test_every_equation_has_a_function_and_a_test(number: str) -> None:
    equation = EQUATIONS[number]
    assert equation.functions, f"no docstring begins with Eq. {number}"
    assert equation.tests, f"no test is named after a function of Eq. {number}"


@pytest.mark.parametrize("number", traceability.TITLES)
def test_every_equation_stands_on_one_page_once(number: str) -> None:
    assert len(EQUATIONS[number].pages) == 1


API = re.compile(r"^\{\{ api (entropyprune_ref[\w.]*) \}\}$", re.MULTILINE)
PAGES = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}
SHOWN = {name for text in PAGES.values() for module in API.findall(text) for name in reference.public_names(module)}


def test_every_public_name_has_a_reference_page() -> None:
    assert set(entropyprune_ref.__all__) - {"__version__"} <= SHOWN


def test_every_oracle_name_has_a_reference_page() -> None:
    from entropyprune_ref import oracle

    assert "{{ api entropyprune_ref.oracle }}" in PAGES["oracle.md"]
    assert set(oracle.__all__) <= SHOWN


def test_no_private_module_or_name_has_a_reference_page() -> None:
    shown = re.findall(r"^::: (\S+)", "\n".join(PAGES.values()), re.MULTILINE)
    assert not [name for name in (*shown, *SHOWN) if any(part.startswith("_") for part in name.split("."))]
    with pytest.raises(PluginError, match="public module"):
        reference.api("entropyprune_ref._numerics.centring", None, None, None)


def test_reference_names_import_equations_tutorials_and_tests() -> None:
    entry = reference.entry("entropyprune_ref.scoring", "token_entropy")
    assert "from entropyprune_ref import token_entropy" in entry
    assert "[3.1](../method/token-scores.md#eq-3-1)" in entry and "[3](../tutorials/03_a_token_score.md)" in entry
    assert "test_scoring.md#L" in entry
    assert reference.tests_of("spectrum") and not any(
        name.startswith("test_spectrum_entropy") for name in reference.tests_of("spectrum")
    )


def test_ranges_of_numbers_are_filled_in() -> None:
    assert traceability.numbers_in("Finds it (Eq. 4.2-4.5).") == ["4.2", "4.3", "4.4", "4.5"]
    assert traceability.numbers_in("Does it (Eqs. 1.2, 1.3, 2.1 and 2.2).") == ["1.2", "1.3", "2.1", "2.2"]
    assert traceability.numbers_in("Nothing.") == []


def test_laws_are_the_tests_named_after_a_function() -> None:
    known = ["test_spectrum_entropy_ignores_scale", "test_spectrum_sums_to_one", "test_other_spectrum"]
    assert traceability.laws_of("spectrum", known, ["spectrum", "spectrum_entropy"]) == ["test_spectrum_sums_to_one"]
    assert traceability.laws_of("spectrum_entropy", known, ["spectrum"]) == ["test_spectrum_entropy_ignores_scale"]


def test_page_names_every_equation_and_links_its_functions_and_tests() -> None:
    page = traceability.page(40)
    counts = re.search(r"\*\*40 pages, (\d+) equations, (\d+) functions, (\d+) laws, (\d+) test functions\.\*\*", page)
    assert counts and int(counts[1]) == len(EQUATIONS) and int(counts[4]) == len(DEFINED)
    assert re.findall(r"^## (\d\.\d) ", page, re.MULTILINE) == sorted(EQUATIONS)
    assert "[`gram.centred`](../source/entropyprune_ref/gram.md#L" in page
    assert "of nothing" not in page and "computed by nothing" not in page


def test_an_equation_that_stands_twice_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "entropyprune_ref").mkdir()
    (tmp_path / "docs" / "method").mkdir(parents=True)
    for name in ("one.md", "two.md"):
        (tmp_path / "docs" / "method" / name).write_text("$$ x \\tag{1.1} $$")
    monkeypatch.setattr(traceability, "ROOT", tmp_path)
    assert traceability.equations()["1.1"].pages == ["method/one.md", "method/two.md"]
