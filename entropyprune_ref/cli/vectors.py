"""`entropyprune-ref vectors`: the oracle as files, for implementations that cannot be called from Python."""

from pathlib import Path

import click

from ._shared import dump, json_option, say, show


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the files: a new or empty one, or one of vectors, which are replaced.",
)
@json_option
def vectors(out: Path, as_json: bool) -> None:
    """Write test vectors: inputs, expected outputs, tolerances and verdicts, for programs in any language.

    Two runs on one machine write the same bytes; on another machine the last digits may differ.

    What a program answers is judged by: entropyprune-ref check --vectors FILE
    """
    try:
        from ..oracle.vectors import write
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from None
    manifest = write(out)
    if as_json:
        dump(manifest)
        return
    counts, files = manifest["cases"], manifest["files"]
    total = [["all", str(sum(counts.values()))]]
    show(
        f"Cases, spec {manifest['spec_version']}",
        ["contract", "cases"],
        [*([n, str(c)] for n, c in counts.items()), *total],
    )
    rows = [[name, f"{entry['bytes']:,}", entry["sha256"][:16]] for name, entry in files.items()]
    show("Files", ["file", "bytes", "SHA-256"], rows)
    say(f"Vectors: {out}")
