"""The command line: every command says what it found, even if that is nothing or speaks against the method."""

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
