"""Pages that repeat a file of the repository or what the command line says of itself."""

from pathlib import Path

import click

from entropyprune_ref.cli.commands import commands
from entropyprune_ref.oracle import CONTRACTS
from entropyprune_ref.oracle.bugs import MUTANTS
from entropyprune_ref.oracle.contracts.contract import Contract

ROOT = Path(__file__).parents[2]
SAMPLES = "A sample is a head in `token_entropy`, and a token in `layer_entropy`."


def changelog() -> str:
    """The changelog without its title."""
    return (ROOT / "CHANGELOG.md").read_text().split("\n", 1)[1]


def citation() -> str:
    """The citation file."""
    return f"```yaml\n{(ROOT / 'CITATION.cff').read_text().strip()}\n```"


def command_line() -> str:
    """The help of every command."""
    parts = []
    for name, command in commands.commands.items():
        context = click.Context(command, info_name=f"entropyprune-ref {name}", max_content_width=86, terminal_width=86)
        parts.append(f"## `{name}`\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts)


def contracts() -> str:
    """Every contract: how a candidate is called, and its laws, folded; contracts of the same laws stand together."""
    alike: dict[tuple[str, ...], list[Contract]] = {}
    for contract in CONTRACTS.values():
        alike.setdefault(tuple(law.name for law in contract.laws), []).append(contract)
    parts = []
    for group in alike.values():
        parts += [f"### {', '.join(f'`{contract.name}`' for contract in group)}", ""]
        parts += [f"- `{contract.call}`" for contract in group]
        if len(group) > 1:
            parts += ["", SAMPLES]
        rows = [f"| {law.name} | {law.statement} |" for law in group[0].laws]
        parts += ["", *folded(f"Laws ({len(rows)})", ["| law | what it says |", "| --- | --- |", *rows]), ""]
    return "\n".join(parts)


def folded(title: str, lines: list[str]) -> list[str]:
    """Markdown that is shown when its title is chosen."""
    return [
        f'??? test "{title}"',
        "",
        '    <div class="words" markdown>',
        "",
        *(f"    {line}" for line in lines),
        "",
        "    </div>",
    ]


def mutants() -> str:
    """The catalogue of known-wrong implementations, a fold for each contract."""
    lines = [f"{len(MUTANTS)} known-wrong implementations, each caught in every test run:", ""]
    for name in CONTRACTS:
        bugs = [
            f"- {mutant.name}" + (f" ({mutant.convention.name})" if mutant.convention.name != "paper" else "")
            for mutant in MUTANTS
            if mutant.contract == name
        ]
        lines += [*folded(f"{name}: {len(bugs)}", bugs), ""]
    return "\n".join(lines)
