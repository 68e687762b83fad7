"""The command line: every command says what it found, even if that is nothing or speaks against the method."""

import sys
from collections.abc import Sequence

import click

from .. import __version__
from .check import check
from .collapse import collapse
from .demo import demo
from .evaluate import evaluate
from .flops import flops
from .prune import prune
from .trace import trace
from .train import train
from .vectors import vectors


class _Commands(click.Group):
    """click takes an end of file for Ctrl-C, also where it is a file that ended too early."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise click.ClickException(f"a file ended too early: {error or 'it is empty'}") from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="entropyprune-ref")
def commands() -> None:
    """EntropyPrune, the reference: matrix entropy guided visual token pruning."""


for command in (demo, collapse, prune, trace, flops, check, vectors, train, evaluate):
    commands.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; bad input is one line on stderr and exit code 2.

    Args:
        arguments: What follows the program's name; default: those of the process.
    """
    try:
        code = commands.main(arguments, prog_name="entropyprune-ref", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _refuse(error.format_message())
    except (ValueError, OSError) as error:
        _refuse(str(error))
    sys.exit(code if isinstance(code, int) else 0)


def _refuse(message: str) -> None:
    click.echo(f"entropyprune-ref: {' '.join(message.split())}", err=True)
    sys.exit(2)
