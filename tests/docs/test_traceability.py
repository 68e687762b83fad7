"""From every equation to its code, its page and its tests, and back: nothing numbered stands alone."""

import importlib
import re
import sys
from pathlib import Path

import pytest

import entropyprune_ref

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "hooks"))
traceability = importlib.import_module("traceability")

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


def test_every_public_name_has_a_reference_page() -> None:
    documented = "\n".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    modules = set(re.findall(r"^::: (entropyprune_ref[\w.]*)", documented, re.MULTILINE))
    for name in entropyprune_ref.__all__:
        thing = getattr(entropyprune_ref, name)
        module = getattr(thing, "__module__", None)
        if name == "__version__" or module is None:
            continue
        home = "entropyprune_ref.scoring" if name in ("PAPER", "RELEASED", "ROW_NORMALIZED") else module
        assert home in modules or f"{home}.{name}" in modules, f"{name} of {home} has no page"


def test_every_oracle_name_has_a_reference_page() -> None:
    from entropyprune_ref import oracle

    documented = (ROOT / "docs" / "reference" / "oracle.md").read_text()
    modules = set(re.findall(r"^::: (entropyprune_ref[\w.]*)", documented, re.MULTILINE))
    for name in ("check", "parametrize_with_checks", "replay", "self_test", "Report", "Failure", "Verdict", "Contract"):
        home = getattr(oracle, name).__module__
        assert {home, f"{home}.{name}", f"entropyprune_ref.oracle.{name}"} & modules, f"{name} has no page"


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
