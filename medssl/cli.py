"""The command line: each verb reads its arguments and calls one function.

Heavy libraries are imported inside the verbs, so that `--help` and any mistake answer at once.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from medssl.cli_data import data_app, export_app
from medssl.environment import wait_passively
from medssl.errors import DataError, MedsslError, Stopped, UsageError
from medssl.stop import STOP

app = typer.Typer(
    help="Medical images with few labels: scans to masks, slides to calls, radiographs to grades.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
app.add_typer(export_app, name="export")

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="e.g. split.labels=4 method=cps", show_default=False
    ),
]
PipelineName = Annotated[str, typer.Argument(metavar="PIPELINE", help="name or YAML file")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Fresh = Annotated[bool, typer.Option("--resume/--fresh", help="Continue, or train anew.")]


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
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
    """Train, predict and evaluate; what is done already is skipped."""
    from medssl.pipeline.config import load_config, pipeline_family

    family = pipeline_family(pipeline, overrides or [])
    if family == "grade":
        from medssl.pipeline.grades.config import load_grade_config

        radiographs = load_grade_config(pipeline, overrides or [])

        from medssl.pipeline.grades.run import run_grades
        from medssl.pipeline.progress import make_reporter

        typer.echo(run_grades(radiographs, make_reporter(quiet), resume))
        return
    if family == "slide":
        from medssl.pipeline.slides.config import load_slide_config

        slides = load_slide_config(pipeline, overrides or [])

        from medssl.pipeline.progress import make_reporter
        from medssl.pipeline.slides.run import run_slides

        typer.echo(run_slides(slides, make_reporter(quiet), resume))
        return
    config = load_config(pipeline, overrides or [])

    from medssl.pipeline.progress import make_reporter
    from medssl.pipeline.run import run as carry_out

    done = carry_out(config, make_reporter(quiet), resume)
    typer.echo(f"masks    {done.masks}\nscores   {done.scores}\nreport   {done.report}")


@app.command()
def pretrain(
    pipeline: PipelineName, overrides: Overrides = None, resume: Fresh = True, quiet: Quiet = False
) -> None:
    """Train an encoder on unlabelled cases; prints the folder of its checkpoint."""
    from medssl.pipeline.config import pipeline_family, refuse_family

    family = pipeline_family(pipeline, overrides or [])
    if family != "pretrain":
        refuse_family(family, "pretrain")
    from medssl.pipeline.pretrain.config import learns_from_tiles, load_pretrain_config

    if learns_from_tiles(pipeline, overrides or []):
        from medssl.pipeline.progress import make_reporter
        from medssl.pipeline.slides.pretrain import pretrain_tiles

        typer.echo(pretrain_tiles(pipeline, overrides or [], make_reporter(quiet), resume))
        return
    config = load_pretrain_config(pipeline, overrides or [])

    from medssl.pipeline.pretrain.plan import make_pretrain_plan
    from medssl.pipeline.pretrain.run import pretrain_stage
    from medssl.pipeline.progress import make_reporter

    typer.echo(pretrain_stage(make_pretrain_plan(config), make_reporter(quiet), resume))


@app.command()
def train(
    pipeline: PipelineName, overrides: Overrides = None, resume: Fresh = True, quiet: Quiet = False
) -> None:
    """Train alone; prints the folder of the checkpoints."""
    from medssl.pipeline.config import load_config, pipeline_family, refuse_family

    family = pipeline_family(pipeline, overrides or [])
    if family == "slide":
        from medssl.pipeline.progress import make_reporter
        from medssl.pipeline.slides.config import load_slide_config
        from medssl.pipeline.slides.run import train_slides

        slides = load_slide_config(pipeline, overrides or [])
        typer.echo(train_slides(slides, make_reporter(quiet), resume))
        return
    if family == "grade":
        from medssl.pipeline.grades.config import load_grade_config

        radiographs = load_grade_config(pipeline, overrides or [])

        from medssl.pipeline.grades.run import train_grades
        from medssl.pipeline.progress import make_reporter

        typer.echo(train_grades(radiographs, make_reporter(quiet), resume))
        return
    if family != "segment":
        refuse_family(family, "segment")
    config = load_config(pipeline, overrides or [])

    from medssl.pipeline.progress import make_reporter
    from medssl.pipeline.run import train_alone

    typer.echo(train_alone(config, make_reporter(quiet), resume))


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="Folder with weights.safetensors.")],
    files: Annotated[list[Path], typer.Argument(help="Images, DICOM series or case folders.")],
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
        Literal["nifti", "nrrd", "mha"] | None,
        typer.Option("--format", help="Of masks and maps; nifti unless said.", show_default=False),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other files that are in the way.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Masks on the grids of the given images, calls and heat maps of slides, or grades."""
    from medssl.train.description import checkpoint_family

    family = checkpoint_family(checkpoint)
    if written_as and family in ("slide", "grade"):
        raise UsageError(f"--format does nothing for {family}s", "", "leave it out")
    if family == "slide":
        from medssl.pipeline.progress import make_reporter
        from medssl.pipeline.slides.predict import predict_slides

        if settings:
            raise UsageError("--set does nothing for slides", do="leave it out")
        reporter = make_reporter(quiet)
        typer.echo(predict_slides(checkpoint, files, out, reporter, device, overwrite))
        return
    if family == "grade":
        from medssl.pipeline.grades.predict import predict_radiographs
        from medssl.pipeline.progress import make_reporter

        reporter = make_reporter(quiet)
        typer.echo(
            predict_radiographs(checkpoint, files, out, settings or [], reporter, device, overwrite)
        )
        return
    from medssl.pipeline.predict import predict_files
    from medssl.pipeline.progress import make_reporter

    reporter = make_reporter(quiet)
    overrides = [*(settings or []), *([f"format={written_as}"] if written_as else [])]
    written = predict_files(checkpoint, files, out, overrides, reporter, device, overwrite)
    typer.echo(f"{len(written)} masks in {out}")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of masks named by case.")],
    data: Annotated[str, typer.Option("--data", help="Data spec whose labels are the truth.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: PREDICTIONS.")] = None,
    quiet: Quiet = False,
) -> None:
    """Scores of a folder of masks against the labels of a data set."""
    from medssl.pipeline.evaluate import evaluate_folder
    from medssl.pipeline.progress import make_reporter

    typer.echo(evaluate_folder(predictions, data, out or predictions, make_reporter(quiet)))


@app.command()
def study(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="Study file, or a pipeline.")],
    methods: Annotated[str, typer.Option(help="Of a pipeline: a,b")] = "",
    labels: Annotated[str, typer.Option(help="Of a pipeline: 4,8")] = "",
    seeds: Annotated[str, typer.Option(help="Of a pipeline: 0,1,2")] = "",
    only: Annotated[
        list[str] | None, typer.Option(help="A part of the runs: arm=..,labels=..,seed=..")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of each run.")] = None,
    quiet: Quiet = False,
) -> None:
    """Methods x label budgets x seeds, with statistics and the learning curve; resumable."""
    from medssl.pipeline.progress import make_reporter
    from medssl.pipeline.study_grid import load_study, study_family

    command = shlex.join(["medssl", *sys.argv[1:]])
    family = study_family(name)
    if family == "pretrain":
        from medssl.pipeline.pretrain.study import load_pretrain_study, run_pretrain_study

        encoders = load_pretrain_study(name)
        typer.echo(run_pretrain_study(encoders, make_reporter(quiet), only or [], threads, command))
        return
    if family == "slide":
        from medssl.pipeline.slides.study import load_slide_study, run_slide_study

        slides = load_slide_study(name)
        typer.echo(run_slide_study(slides, make_reporter(quiet), only or [], threads, command))
        return
    chosen = load_study(name, methods, labels, seeds)
    if family == "grade":
        from medssl.pipeline.grades.study import run_grade_study

        typer.echo(run_grade_study(chosen, make_reporter(quiet), only or [], threads, command))
        return
    from medssl.pipeline.study import run_study

    typer.echo(run_study(chosen, make_reporter(quiet), only or [], threads, command))


@app.command()
def compare(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="name")],
    reference: Annotated[
        str,
        typer.Option(
            help="Method to compare with.", show_default="supervised, abmil or supervised_mixup"
        ),
    ] = "",
) -> None:
    """Table across the finished runs of a pipeline, with intervals and p-values."""
    from medssl.pipeline.config import pipeline_family
    from medssl.pipeline.files import pipeline_names

    family = pipeline_family(pipeline) if pipeline in pipeline_names() else "segment"
    if family == "grade":
        from medssl.pipeline.grades.compare import compare_grades

        typer.echo(compare_grades(pipeline, reference or "supervised_mixup"))
        return
    if family == "slide":
        from medssl.pipeline.slides.compare import compare_slides

        typer.echo(compare_slides(pipeline, reference or "abmil"))
        return

    from medssl.pipeline.compare import compare as tabulate

    typer.echo(tabulate(pipeline, reference or "supervised"))


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
        str, typer.Argument(metavar="[SECTION]", help="e.g. train, method.cps, data, layout.glob")
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
