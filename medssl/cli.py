"""The command line: each verb reads its arguments and calls one function.

Heavy libraries are imported inside the verbs, so that `--help` and any mistake answer at once.
"""

import sys
from typing import Annotated

import typer

from medssl.cli_data import data_app, export_app
from medssl.cli_encoders import import_, info, select
from medssl.cli_results import evaluate, predict
from medssl.cli_run import demo, init, plan, pretrain, run, train
from medssl.cli_serve import serve
from medssl.cli_study import compare, study
from medssl.discreet import exit_code_of, failure_of, hush, sentence_of, show
from medssl.environment import process_count, process_rank, wait_passively
from medssl.errors import MedsslError, Stopped, UsageError
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
for verb in (info, select, serve, demo, run, pretrain, train, predict, evaluate, study, compare):
    app.command()(verb)
app.add_typer(data_app, name="data")
app.add_typer(export_app, name="export")


def _show_version(wanted: bool) -> None:
    if wanted:
        from medssl.train.fingerprint import code_version

        typer.echo(f"medssl {code_version()}")
        raise typer.Exit


TOGETHER = ("run", "train", "pretrain", "predict", "study")
"""What several processes may carry out together; of a study, one of its runs."""


@app.callback()
def options(
    context: typer.Context,
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
    if process_count() > 1 and context.invoked_subcommand not in TOGETHER:
        raise UsageError(
            f"{process_count()} processes cannot do `medssl {context.invoked_subcommand}` together",
            f"torchrun is for {', '.join(TOGETHER[:4])}",
            "start it as one process",
        )


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
    hush()
    try:
        STOP.listen()
        wait_passively()
        app(arguments, prog_name="medssl")
    except Stopped as stopped:
        if process_rank() == 0 and _is_first_to_end():
            typer.echo(f"medssl: {stopped}", err=True)
        STOP.leave(stopped.exit_code)
    except Exception as error:
        _fail(error, debug)
    finally:
        STOP.end()


def _fail(error: Exception, debug: bool) -> None:
    if debug:
        sys.excepthook = show
        named = failure_of(error)
        if named is not error:
            named.__cause__ = error
        raise named
    code = exit_code_of(error)
    if not _is_first_to_end():
        raise SystemExit(code)
    from medssl.names import printable

    hint = "" if isinstance(failure_of(error), MedsslError) else "; add --debug to see where"
    typer.echo(f"medssl: {printable(sentence_of(error))}{hint}", err=True)
    raise SystemExit(code)


def _is_first_to_end() -> bool:
    """Whether no other process of the same training has failed, and said why."""
    if process_count() == 1:
        return True
    from medssl.train.distributed import TEAM

    return TEAM.tell_failure()
