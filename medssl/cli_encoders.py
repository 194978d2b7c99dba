"""The verbs `medssl import`, `medssl info` and `medssl select`; each calls one function."""

from pathlib import Path
from typing import Annotated

import typer

from medssl import completion


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


def select(
    pipeline: Annotated[
        str,
        typer.Argument(
            metavar="PIPELINE",
            help="Name or file of a pipeline that pre-trains on volumes.",
            autocompletion=completion.pipelines,
        ),
    ],
    proxy: Annotated[
        Path, typer.Option(help="A pre-trained encoder, by which scans are compared.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="New file, for `selected`.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the pipeline.")
    ] = None,
    fraction: Annotated[float, typer.Option(help="Share of the sessions that is kept.")] = 0.6,
    selector: Annotated[
        str, typer.Option(help="cut or rowsum (SAS), facility, k_center or random.")
    ] = "cut",
    windows: Annotated[int, typer.Option(help="Of each scan, compared by their mean.")] = 4,
    classes: Annotated[int, typer.Option(help="Clusters of each data set.")] = 4,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    allow_loss: Annotated[
        bool,
        typer.Option("--allow-loss", help="Even if something loses more than half of its share."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Which scans are enough to pre-train on, by how alike an encoder finds them."""
    from medssl.families.pretrain.select import Wanted, select_scans
    from medssl.pipeline.progress import make_reporter
    from medssl.train.model_folder import model_folder

    wanted = Wanted(fraction, selector, windows, classes, seed, allow_loss)
    given = pipeline, overrides or (), model_folder(proxy), wanted, out
    typer.echo(select_scans(*given, make_reporter(quiet)))
