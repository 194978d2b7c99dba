"""The command line: each verb reads its arguments and calls one function.

Heavy libraries are imported inside the verbs, so that `--help` and any mistake answer at once.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from medssl import completion
from medssl.cli_data import data_app, export_app
from medssl.cli_encoders import import_, info
from medssl.cli_init import init, pipeline_for
from medssl.cli_plan import plan
from medssl.cli_serve import serve
from medssl.environment import wait_passively
from medssl.errors import DataError, MedsslError, Stopped, UsageError
from medssl.stop import STOP

app = typer.Typer(
    help="Medical images with few labels: scans to masks, slides to calls, radiographs to grades.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(init)
app.command()(plan)
app.command("import")(import_)
app.command()(info)
app.command()(serve)
app.add_typer(data_app, name="data")
app.add_typer(export_app, name="export")

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="e.g. split.labels=4 method=cps", show_default=False
    ),
]
PipelineName = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE",
        help="name or YAML file; run: or a folder of scans",
        autocompletion=completion.pipelines,
    ),
]
ModelFolder = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="Package (.zip), or a run's folder: train-..., checkpoint or checkpoint/last.",
        autocompletion=completion.checkpoints,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Fresh = Annotated[bool, typer.Option("--resume/--fresh", help="Continue, or train anew.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from medssl.train.fingerprint import code_version

        typer.echo(f"medssl {code_version()}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """What every verb takes; `main` reads `--debug` wherever it stands."""


@app.command()
def demo(quiet: Quiet = False) -> None:
    """TraCoCo against supervised on simulated brains: masks, report and runs in minutes."""
    from medssl.pipeline.demo import demo as show
    from medssl.pipeline.progress import make_reporter

    typer.echo(show(make_reporter(quiet)))


@app.command()
def run(
    pipeline: PipelineName, overrides: Overrides = None, resume: Fresh = True, quiet: Quiet = False
) -> None:
    """Train, predict and evaluate; what is done already is skipped. A folder may stand for it."""
    if "=" not in pipeline and Path(pipeline).is_dir():
        pipeline = pipeline_for(pipeline, quiet)
    _carry_out("run", pipeline, overrides, resume, quiet)


@app.command()
def pretrain(
    pipeline: PipelineName, overrides: Overrides = None, resume: Fresh = True, quiet: Quiet = False
) -> None:
    """Train an encoder on unlabelled cases, for other pipelines to start from."""
    _carry_out("pretrain", pipeline, overrides, resume, quiet)


@app.command()
def train(
    pipeline: PipelineName, overrides: Overrides = None, resume: Fresh = True, quiet: Quiet = False
) -> None:
    """Train alone; prints the folder of the model, which `predict` takes."""
    _carry_out("train", pipeline, overrides, resume, quiet)


def _carry_out(
    verb: str, pipeline: str, overrides: list[str] | None, resume: bool, quiet: bool
) -> None:
    from medssl.pipeline.config import load_config, refuse_without_encoder

    config = load_config(pipeline, overrides or [])
    if verb == "pretrain":
        refuse_without_encoder(config)

    from medssl.pipeline import run as carried_out
    from medssl.pipeline.progress import make_reporter

    function = carried_out.train if verb == "train" else carried_out.run
    typer.echo(function(config, make_reporter(quiet), resume))


@app.command()
def predict(
    model: ModelFolder,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="INPUTS...", help="Images, DICOM series, or folders of them."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A key of `predict`, e.g. flips=true; of radiographs side=L, spacing=0.2.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    written_as: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="nifti, nrrd, mha, stl, obj; of DICOM dicom-seg[-fractional|-labelmap], rtstruct.",
            show_default=False,
        ),
    ] = None,
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
    quiet: Quiet = False,
) -> None:
    """Masks on the grids of the given images, calls and heat maps of slides, or grades."""
    from medssl.pipeline.family import find_family
    from medssl.pipeline.progress import make_reporter
    from medssl.registry import load
    from medssl.train.description import checkpoint_family
    from medssl.train.model_folder import model_folder

    checkpoint = model_folder(model)
    family = find_family(checkpoint_family(checkpoint))
    keys = [*(settings or []), *([f"format={written_as}"] if written_as else [])]
    keys += ["report=true"] if report else []
    reporter = make_reporter(quiet)
    if family.predict_files is None:
        raise UsageError(
            f"{checkpoint} cannot be asked about files",
            f"it is of the family '{family.name}'",
            f"train a pipeline that starts from it, with pretrain={checkpoint}",
        )
    family.refuse_formats([*keys, *map(str, files)])
    measured = {} if statistics is None else {"statistics": statistics}
    if measured and not family.measures:
        raise UsageError(
            f"--statistics cannot be written with a checkpoint of the family '{family.name}'",
            "it marks no structures whose volumes could be measured",
            "leave it out",
        )
    given = checkpoint, files, out, keys, reporter, device, overwrite
    typer.echo(load(family.predict_files)(*given, **measured))


@app.command()
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
    if family.evaluate_files is None:
        raise UsageError(f"the family '{family.name}' has nothing to evaluate files by")
    given = predictions, spec, out or folder, make_reporter(quiet), settings or []
    typer.echo(load(family.evaluate_files)(*given))


@app.command()
def study(
    name: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="Study file, or a pipeline.", autocompletion=completion.studies
        ),
    ],
    methods: Annotated[str, typer.Option(help="Of a pipeline: a,b")] = "",
    labels: Annotated[str, typer.Option(help="Of a pipeline: 4,8")] = "",
    seeds: Annotated[str, typer.Option(help="Of a pipeline: 0,1,2")] = "",
    only: Annotated[
        list[str] | None, typer.Option(help="A part of the runs: arm=..,labels=..,seed=..")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of each run.")] = None,
    quiet: Quiet = False,
) -> None:
    """Arms x label budgets or data sets x seeds, with statistics; resumable."""
    from medssl.pipeline.progress import make_reporter
    from medssl.pipeline.study import checked_cells, load_study

    chosen = load_study(name, methods, labels, seeds)
    checked_cells(chosen, only or [])

    from medssl.pipeline.study_run import run_study

    command = shlex.join(["medssl", *sys.argv[1:]])
    typer.echo(run_study(chosen, make_reporter(quiet), only or [], threads, command))


@app.command()
def compare(
    pipeline: Annotated[
        str,
        typer.Argument(metavar="PIPELINE", help="name", autocompletion=completion.pipelines),
    ],
    reference: Annotated[
        str,
        typer.Option(help="Method to compare with.", show_default="the usual one of the family"),
    ] = "",
) -> None:
    """Table across the finished runs of a pipeline, with intervals and p-values."""
    from medssl.pipeline.compare import compare as tabulate

    typer.echo(tabulate(pipeline, reference))


@app.command()
def methods() -> None:
    """The methods, their papers and presets."""
    from medssl.methods.registry import method_names, settings_class

    wide = max(len(name) for name in method_names())
    for name in method_names():
        settings = settings_class(name)
        presets = f"; presets: {', '.join(settings.presets)}" if settings.presets else ""
        typer.echo(
            f"{name:{wide}} {settings.family:9} {settings.summary}\n"
            f"{'':{wide}} {'':9} {settings.paper}{presets}"
        )


@app.command()
def keys(
    section: Annotated[
        str,
        typer.Argument(metavar="[SECTION]", help="e.g. train, method.cps, data, monai:UNet"),
    ] = "",
    schema: Annotated[
        bool, typer.Option("--schema", help="A JSON schema for editors, of one kind of file.")
    ] = False,
) -> None:
    """Every key of pipelines, data specs, layouts and studies: type, default, unit, meaning."""
    if schema:
        from medssl.pipeline.schema import schema_text

        typer.echo(schema_text(section))
        return
    from medssl.pipeline.class_keys import describe_class

    if (arguments := describe_class(section)) is not None:
        typer.echo(arguments)
        return
    from medssl.pipeline.keys import describe, overview

    typer.echo(describe(section) if section else overview())


def main() -> None:
    """The console script: failures as one sentence on stderr, with the exit code of their kind."""
    # Taken out here, so that `--debug` may stand anywhere, after the verb too.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        STOP.listen()
        wait_passively()
        app(arguments, prog_name="medssl")
    except MedsslError as error:
        _fail(error, str(error), error.exit_code, debug)
    except Stopped as stopped:
        typer.echo(f"medssl: {stopped}", err=True)
        STOP.leave(stopped.exit_code)
    except OSError as error:
        named = DataError(
            f"{error.filename or 'a file'} cannot be used",
            (error.strerror or str(error)).lower(),
            "check the path and its permissions",
        )
        named.__cause__ = error
        _fail(named, str(named), named.exit_code, debug)
    except Exception as error:
        name = type(error).__name__
        _fail(error, f"unexpected {name}: {error}; add --debug to see where", 1, debug)
    finally:
        STOP.end()


def _fail(error: Exception, sentence: str, code: int, debug: bool) -> None:
    if debug:
        raise error
    from medssl.names import printable

    typer.echo(f"medssl: {printable(sentence)}", err=True)
    raise SystemExit(code)
