"""The verbs that use what was trained on files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medssl import completion
from medssl.cli_data import ModelFolder, Quiet
from medssl.environment import process_count, process_rank
from medssl.errors import UsageError

if TYPE_CHECKING:
    from medssl.pipeline.family import Family


Manifest = Annotated[
    Path | None,
    typer.Option(
        help="In place of INPUTS, a list: a path a line, or a CSV with path and name.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="nifti, nrrd, mha, png, tiff, stl or obj; of DICOM also rtstruct, "
        "dicom-seg[-fractional|-labelmap].",
        show_default=False,
    ),
]


def predict(
    model: ModelFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUTS...",
            help="Images, DICOM series, or folders of them.",
            show_default=False,
        ),
    ] = None,
    manifest: Manifest = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="A part of the list, e.g. 3/64.", show_default=False)
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A key of `predict`, e.g. flips=true; of radiographs side=L, spacing=0.2.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    written_as: Format = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other files that are in the way.")
    ] = False,
    statistics: Annotated[
        Path | None,
        typer.Option(help="CSV to write of the volume of each structure, and of doubt."),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="A page of each case to look at, and one of all.")
    ] = False,
    keep_ids: Annotated[
        bool,
        typer.Option("--keep-ids", help="Name results of DICOM after folders, not study_KEY."),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Masks on the grids of the given images, calls and heat maps of slides, or grades."""
    from medssl.pipeline.family import find_family
    from medssl.pipeline.progress import SilentReporter, make_reporter
    from medssl.registry import load
    from medssl.train.description import checkpoint_family
    from medssl.train.model_folder import model_folder

    checkpoint = model_folder(model)
    family = find_family(checkpoint_family(checkpoint))
    keys = [*(settings or []), *([f"format={written_as}"] if written_as else [])]
    keys += ["report=true"] if report else []
    reporter = make_reporter(quiet) if process_rank() == 0 else SilentReporter()
    predictor = _predictor(family, checkpoint)
    family.refuse_formats([*keys, *map(str, files or [])])
    more = _measured(family, statistics) | _listed(family, files or [], manifest, shard)
    if keep_ids and family.files.neutral:  # others name results after files anyway
        more["keep_ids"] = True
    given = checkpoint, files or [], out, keys, reporter, device, overwrite
    said = load(predictor)(*given, **more)
    if process_rank() == 0:
        typer.echo(said)


def _predictor(family: "Family", checkpoint: Path) -> str:
    """What predicts files by a checkpoint of a family, as `load` takes it."""
    if process_count() > 1 and not family.files.shared:
        raise UsageError(
            f"several processes cannot share out files for the family '{family.name}'",
            do="start it as one process",
        )
    if family.files.predict is None:
        raise UsageError(
            f"{checkpoint} cannot be asked about files",
            f"it is of the family '{family.name}'",
            f"train a pipeline that starts from it, with pretrain={checkpoint}",
        )
    return family.files.predict


def _measured(family: "Family", statistics: Path | None) -> dict[str, Any]:
    """The CSV of volumes to write; nothing without one."""
    if statistics is None:
        return {}
    if not family.files.measures:
        raise UsageError(
            f"--statistics cannot be written with a checkpoint of the family '{family.name}'",
            "it marks no structures whose volumes could be measured",
            "leave it out",
        )
    return {"statistics": statistics}


def _listed(
    family: "Family", files: list[Path], manifest: Path | None, shard: str
) -> dict[str, Any]:
    """Lines of a list to predict in place of files, and which of them; nothing without a list."""
    from medssl.pipeline.manifest import Shard, read_list

    if manifest is None:
        if shard or not files:
            raise UsageError(
                "--shard needs a list to take a part of" if shard else "nothing is to be predicted",
                do="name images or folders, or a list with --manifest",
            )
        return {}
    if files:
        raise UsageError(f"{files[0]} and --manifest are both given", do="leave one of them out")
    if not family.files.lists:
        raise UsageError(
            f"--manifest cannot be used with a checkpoint of the family '{family.name}'",
            "it answers all its files in one table",
            "name the files or their folder",
        )
    if shard and process_count() > 1:
        raise UsageError(
            f"--shard {shard} was given to {process_count()} processes that torchrun started",
            "they share the list out by themselves",
            "leave it out",
        )
    chosen = Shard.of(shard) if shard else Shard(process_rank(), process_count())
    return {"lines": read_list(manifest), "shard": chosen}


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="Folder of masks named by case, or a CSV of grades or calls.")
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Data spec whose labels are the truth.",
            autocompletion=completion.data_specs,
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Keys of `evaluate`, of masks, e.g. metrics=[NAME] tolerance=2",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: PREDICTIONS.")] = None,
    quiet: Quiet = False,
) -> None:
    """Scores of predictions against the labels of a data set."""
    from medssl.data.spec import load_spec
    from medssl.pipeline.config import evaluating_family
    from medssl.pipeline.progress import make_reporter
    from medssl.registry import load

    spec = load_spec(data)
    folder = predictions if predictions.is_dir() else predictions.parent
    family = evaluating_family(spec)
    if family.files.evaluate is None:
        raise UsageError(f"the family '{family.name}' has nothing to evaluate files by")
    given = predictions, spec, out or folder, make_reporter(quiet), settings or []
    typer.echo(load(family.files.evaluate)(*given))
