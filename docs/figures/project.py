"""Pages that repeat a file of the repository or what the command line says of itself."""

from pathlib import Path

import click

from entropyprune_ref.cli.commands import commands
from entropyprune_ref.oracle import CONTRACTS
from entropyprune_ref.oracle.bugs import MUTANTS

ROOT = Path(__file__).parents[2]


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
        context = click.Context(command, info_name=f"entropyprune-ref {name}", max_content_width=96, terminal_width=96)
        parts.append(f"## `{name}`\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts)


def contracts() -> str:
    """Every contract: how a candidate is called, and its laws."""
    parts = []
    for contract in CONTRACTS.values():
        parts.append(f"### `{contract.name}`\n\n`{contract.call}`\n")
        parts += [f"- *{law.name}*: {law.statement}" for law in contract.laws]
        parts.append("")
    return "\n".join(parts)


def mutants() -> str:
    """The catalogue of known-wrong implementations."""
    counted = {name: [m for m in MUTANTS if m.contract == name] for name in CONTRACTS}
    lines = [f"{len(MUTANTS)} known-wrong implementations, each caught in every test run:", ""]
    for name, found in counted.items():
        bugs = "; ".join(
            mutant.name + (f" ({mutant.convention.name})" if mutant.convention.name != "paper" else "")
            for mutant in found
        )
        lines.append(f"- `{name}`, {len(found)}: {bugs}.")
    return "\n".join(lines)
