"""The README says in short what the committed results say, and is short."""

import json
from pathlib import Path
from statistics import mean
from typing import Any

from entropyprune_ref.evaluation.equal_cost import averages, budget, by_rule
from entropyprune_ref.evaluation.tables import share_of, short_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SEEDS = range(5)


def published(name: str) -> list[dict[str, Any]]:
    return [json.loads((ROOT / "results" / f"{name}seed-{seed}.json").read_text()) for seed in SEEDS]


def test_readme_is_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 120
    assert README.count("![") == 1 and (ROOT / "results" / "demo.png").is_file()


def test_readme_shows_the_table_of_the_results() -> None:
    assert short_table(published("")) in README


def test_readme_is_right_about_the_collapse() -> None:
    found = [result["collapse"]["trained"] for result in published("")]
    assert {collapse["layer"] for collapse in found} == {2} and {collapse["layers"] for collapse in found} == {6}
    agreeing = [collapse["consistency"] for collapse in found]
    assert f"{min(agreeing):.0%}".rstrip("%") == "82" and max(agreeing) == 1
    assert "collapses at layer 2 of 6 in all five seeds, and 82 to 100 % of the images agree" in " ".join(
        README.split()
    )


def test_readme_is_right_about_16_tokens_at_the_collapse() -> None:
    said = {
        "token-entropy-paper": "86.5",
        "last-token-attention": "86.1",
        "ground-truth": "86.5",
        "random": "79.0",
    }
    for scorer, figure in said.items():
        assert f"{100 * mean(share_of(result, scorer, 2, 16) for result in published('')):.1f}" == figure
        assert figure in README
    assert f"{100 * mean(share_of(result, 'none kept', 2, 0) for result in published('')):.1f}" == "77.5"
    assert "77.5 with no visual token at all" in " ".join(README.split())
    spread = [100 * share_of(result, "random", 2, 16) for result in published("")]
    assert (round(min(spread)), round(max(spread))) == (63, 98)
    assert "63 to 98 % by seed" in " ".join(README.split())


def test_readme_is_right_about_equal_cost() -> None:
    results = published("equal-cost-")
    chosen = [average for average in averages(results[0]) if len(budget(results[0], average)) > 1]

    def over_budgets(rule: str) -> str:
        shares = [by_rule(result, rule, "token-entropy-paper", average) for result in results for average in chosen]
        return f"{100 * mean(shares):.1f}"

    assert (over_budgets("latest"), over_budgets("collapse")) == ("93.4", "91.4")
    assert "93.4 against 91.4 %" in " ".join(README.split())
