"""The verb `medssl serve`."""

from pathlib import Path
from typing import Annotated

import typer

from medssl.cli_data import ModelFolder


def serve(
    model: ModelFolder,
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than loopback need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = 8000,
    work: Annotated[Path, typer.Option(help="Folder of what was sent and of results.")] = Path(
        "served"
    ),
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token that requests must bear.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A key of `predict`, e.g. flips=true."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    limit: Annotated[int, typer.Option(help="MB of a request, at most.", min=1)] = 2048,
    queue: Annotated[int, typer.Option(help="Studies that may wait.", min=1)] = 100,
    settle: Annotated[
        float, typer.Option(help="Seconds without images after which a study is complete.", min=0)
    ] = 5.0,
    keep: Annotated[
        float, typer.Option(help="Hours after which a finished study is removed.", min=0)
    ] = 24.0,
    patience: Annotated[
        float, typer.Option(help="Seconds that a client may be silent.", min=0.1)
    ] = 30.0,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Web page that may ask, e.g. OHIF's https://viewer.clinic."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No log.")] = False,
) -> None:
    """A service: studies in by DICOMweb, DICOM-SEG out; masks for 3D Slicer and OHIF."""
    from medssl.errors import UsageError
    from medssl.pipeline.family import find_family
    from medssl.pipeline.progress import make_reporter
    from medssl.registry import load
    from medssl.serve.settings import ServeSettings, read_token
    from medssl.train.description import checkpoint_family
    from medssl.train.model_folder import model_folder

    token = None if token_file is None else read_token(token_file)
    told = ServeSettings(
        host, port, work, token, limit * 2**20, queue, settle, keep, patience,
        tuple(allow_origin or ()),
    )  # fmt: skip
    checkpoint = model_folder(model)
    family = find_family(checkpoint_family(checkpoint))
    if family.files.open is None:
        raise UsageError(
            f"{checkpoint} cannot be served",
            f"it is of the family '{family.name}', which marks nothing in DICOM studies",
            "serve a model that segments",
        )
    opened = load(family.files.open)(checkpoint, settings or [], device)

    from medssl.serve.app import serve as start

    start(told, opened, make_reporter(quiet))
