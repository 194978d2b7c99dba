"""The verb `medssl init`, and what `medssl run` does with a folder."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of scans, in whatever order.")],
    labels: Annotated[
        Path | None, typer.Option(help="Folder of the masks, where they lie apart.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="Of both files.", show_default="that of the folder")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print both files and write nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Look into a folder and write its data spec and pipeline; asks nothing, overwrites nothing."""
    from medssl.names import printable
    from medssl.pipeline.init import initialise
    from medssl.pipeline.progress import make_reporter

    said = initialise(folder, make_reporter(quiet), labels, name, dry_run)
    typer.echo("\n".join(map(printable, said.split("\n"))))


def pipeline_for(folder: str, quiet: bool) -> str:
    """The pipeline of a folder, which is made if need be; one that is called as it goes before."""
    from medssl.pipeline.config import pipeline_names

    if folder in pipeline_names():
        return folder
    from medssl.names import printable
    from medssl.pipeline.init import pipeline_of
    from medssl.pipeline.progress import make_reporter

    name, found = pipeline_of(Path(folder), make_reporter(quiet))
    said = found or f"{folder} is initialised already, as data_specs/{name}.yaml says"
    typer.echo("\n".join(map(printable, said.split("\n"))))
    return name
