"""The command line: bad input is one line on stderr, and Ctrl-C is no error."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; bad input is one line on stderr and exit code 2, Ctrl-C is exit code 130.

    Args:
        arguments: What follows the program's name; default: those of the process.
    """
    try:
        sys.exit(_run(arguments))
    except KeyboardInterrupt:  # while the commands, and torch, are still being imported
        sys.exit(130)


def _run(arguments: Sequence[str] | None) -> int:
    import click

    from .commands import commands

    try:
        code = commands.main(arguments, prog_name="entropyprune-ref", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.Abort:
        return 130
    except click.ClickException as error:
        return _refused(error.format_message())
    except (ValueError, OSError) as error:
        return _refused(str(error))
    return code if isinstance(code, int) else 0


def _refused(message: str) -> int:
    print(f"entropyprune-ref: {' '.join(message.split())}", file=sys.stderr)
    return 2
