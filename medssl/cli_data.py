"""The verbs `medssl data ...` and `medssl export ...`; each calls one function."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from medssl import completion

if TYPE_CHECKING:
    from medssl.data.spec import DataSpec


class ExportGroup(TyperGroup):
    """The exporters of medssl, then those of other packages, which are imported when they run."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the help."""
        from medssl.registry import EXPORTERS

        return [*super().list_commands(ctx), *EXPORTERS.names()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; None where there is none."""
        from medssl.registry import EXPORTERS

        found = super().get_command(ctx, cmd_name)
        return _further(cmd_name) if found is None and cmd_name in EXPORTERS.names() else found


data_app = typer.Typer(help="Data sets: list, check, look at, download.", no_args_is_help=True)
export_app = typer.Typer(
    cls=ExportGroup, help="Masks and models for other programs.", no_args_is_help=True
)

DataName = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="data spec, YAML file or folder",
        autocompletion=completion.data_specs,
    ),
]
ModelFolder = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="Package (.zip), or a folder of a run: run-..., train-..., checkpoint/last ...",
        autocompletion=completion.checkpoints,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]

FEW = 3
"""So many verdicts of one kind are told one by one; more are folded into one line."""


@data_app.command("list")
def list_data() -> None:
    """The data sets, whether they are here, and their licences."""
    from medssl.data.layouts import data_folder, layout_of
    from medssl.data.spec import list_specs, load_spec
    from medssl.errors import UsageError

    for name in list_specs():
        try:
            spec = load_spec(name)
            made, here = layout_of(spec).makes_files, data_folder(spec).is_dir()
        except UsageError as error:
            typer.echo(f"{name:16} wrong      {error}")
            continue
        state = "made here" if made else "here" if here else "missing"
        typer.echo(f"{name:16} {state:10} {spec.title}\n{'':27} {spec.licence}")


@data_app.command()
def check(data: DataName, quiet: Quiet = False) -> None:
    """Every way the data are wrong, with the file and the remedy; exit code 3 on errors."""
    from medssl.data.check import check as inspect
    from medssl.data.check import folded, labelled
    from medssl.data.layouts import listed_cases
    from medssl.errors import DataError
    from medssl.names import printable, some_of
    from medssl.pipeline.progress import Counted, make_reporter

    spec, guessed = _spec(data)
    cases = listed_cases(spec)[0]
    if guessed:
        channels = ", ".join(spec.channels)
        how = f"'{spec.layout.kind}': {len(cases)} cases with the channels {channels}"
        typer.echo(printable(f"{data} is read as {how}"))
    with Counted(make_reporter(quiet)) as counted:
        verdicts = inspect(spec, on_progress=counted, guessed=guessed)
    for alike in folded(verdicts):
        names = [one.case or one.file.name for one in alike[1:]]
        many = f" ({len(alike)} cases are so: also {some_of(names)})" if len(alike) > FEW else ""
        for one in alike[:1] if many else alike:
            typer.echo(printable(f"{one.level}: {one.what}; {one.do}{many}"))
    errors = sum(verdict.level == "error" for verdict in verdicts)
    told = sum(map(labelled, cases))
    found = (
        f"{spec.name}: {told} labelled and {len(cases) - told} unlabelled cases, errors {errors}, "
        f"warnings {len(verdicts) - errors}"
    )
    if errors:
        raise DataError(found, do="each line of the output names a file and its remedy")
    typer.echo(found)


@data_app.command()
def show(
    data: DataName,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="PNG to write.", show_default="contact_sheet_NAME.png"),
    ] = None,
    cases: Annotated[int, typer.Option(help="At most so many cases.", min=1)] = 8,
) -> None:
    """A contact sheet: middle slices of the first cases with the outlines of their masks."""
    from medssl.data.layouts import find_cases
    from medssl.data.show import contact_sheet

    spec, _ = _spec(data)
    chosen = out or Path(f"contact_sheet_{spec.name}.png")
    typer.echo(contact_sheet(spec, find_cases(spec)[:cases], chosen))


@data_app.command()
def fetch(
    name: Annotated[
        str,
        typer.Argument(metavar="DATA", help="data spec", autocompletion=completion.data_specs),
    ],
    quiet: Quiet = False,
) -> None:
    """Download a data set from its official home; continues where it was stopped."""
    from medssl.data.fetch import fetch as download
    from medssl.data.spec import load_spec
    from medssl.pipeline.progress import Counted, make_reporter

    spec = load_spec(name)
    typer.echo(f"licence: {spec.licence}\nplease cite: {spec.citation}")
    with Counted(make_reporter(quiet)) as counted:
        typer.echo(download(spec, counted))


@export_app.command()
def dicom_seg(
    mask: Annotated[Path, typer.Argument(help="Mask file.")],
    series: Annotated[Path, typer.Option(help="Folder of the DICOM series it belongs to.")],
    meaning: Annotated[str, typer.Option(help="Checkpoint or data spec: what values mean.")],
    out: Annotated[Path, typer.Option("--out", "-o", help=".dcm file to write.")],
    kind: Annotated[
        Literal["binary", "labelmap"], typer.Option(help="A frame per segment, or one for all.")
    ] = "binary",
) -> None:
    """A mask as DICOM-SEG on the grid of its series, with codes."""
    from medssl.export.dicom_seg import export_dicom_seg

    for warning in export_dicom_seg(mask, series, meaning, out, kind):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(out)


@export_app.command()
def png(
    mask: Annotated[Path, typer.Argument(help="Mask file.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help=".png file to write; of several slices .png.zip.")
    ],
) -> None:
    """A mask as PNG; of a volume a zip file with one for each slice."""
    from medssl.export.png import export_png

    export_png(mask, out)
    typer.echo(out)


@export_app.command()
def package(
    model: ModelFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder, or a .zip file.")],
) -> None:
    """A checkpoint with its card, to hand on."""
    from medssl.export.package import export_package
    from medssl.train.model_folder import model_folder

    export_package(model_folder(model), out)
    typer.echo(out)


@export_app.command()
def encoder(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A pre-trained or imported encoder, or a trained segmentation network.",
            autocompletion=completion.checkpoints,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder.")],
) -> None:
    """An encoder's weights by the names of nnU-Net, MONAI, timm or torchvision."""
    from medssl.export.encoder import export_encoder
    from medssl.train.model_folder import model_folder

    export_encoder(model_folder(model), out)
    typer.echo(out)


def _further(name: str) -> Any:
    """The command of an exporter of another package."""

    def write(
        source: Annotated[Path, typer.Argument(help="File or folder.")],
        out: Annotated[Path, typer.Option("--out", "-o", help="File or folder to write.")],
    ) -> None:
        from medssl.export.exporter import export

        export(name, source, out)
        typer.echo(out)

    command = typer.Typer(add_completion=False)
    from medssl.registry import EXPORTERS

    command.command(name, help=f"By the package {EXPORTERS.package(name)}.")(write)
    return typer.main.get_command(command)


def _spec(data: str) -> "tuple[DataSpec, bool]":
    """The data spec of that name or file, else one guessed from the folder; whether it is."""
    from medssl.data.guess import guess_spec
    from medssl.data.spec import list_specs, load_spec

    if data not in list_specs() and Path(data).is_dir():
        return guess_spec(Path(data)), True
    return load_spec(data), False
