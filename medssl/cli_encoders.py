"""The verbs `medssl import`, `medssl info` and `medssl export encoder`; each calls one function."""

from pathlib import Path
from typing import Annotated

import typer


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Weights (.safetensors, .pth, .pt, .bin), or a bundle of MONAI."
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option("--as", help="What `pretrain=` calls it.", show_default="after the file"),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help="Of the file.", show_default="by the names in it"),
    ] = None,
) -> None:
    """An encoder of another project, from a local file, for `pretrain=NAME`."""
    from medssl.train.imported import import_file
    from medssl.train.inside import inside

    folder, report = import_file(file, name, family)
    typer.echo(f"{inside(folder)}\nloaded: {report}")
    typer.echo(f"start from it with pretrain={folder.name}")


def info(
    path: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="Folder, package (.zip), or file of weights."),
    ],
) -> None:
    """What a checkpoint, a package or a file that can be imported holds."""
    from medssl.train.inside import inside

    typer.echo(inside(path))
