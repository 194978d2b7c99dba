"""The verbs that carry out studies and set runs side by side."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from medssl import completion
from medssl.cli_data import Quiet
from medssl.cli_run import together
from medssl.environment import process_count
from medssl.errors import UsageError

if TYPE_CHECKING:
    from medssl.pipeline.study_run import StudyEnd

Executor = Literal["local", "slurm", "kubernetes"]


StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY", help="Study file, or a pipeline.", autocompletion=completion.studies
    ),
]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Runs at once.", show_default="1 on this machine")
]
Gpus = Annotated[
    int | None, typer.Option(min=0, help="GPUs of each run.", show_default="1 if there are any")
]
OfCluster = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Of a cluster, e.g. partition=gpu time=720; image=..., claim=...",
    ),
]


def study(
    name: StudyName,
    methods: Annotated[str, typer.Option(help="Of a pipeline: a,b")] = "",
    labels: Annotated[str, typer.Option(help="Of a pipeline: 4,8")] = "",
    seeds: Annotated[str, typer.Option(help="Of a pipeline: 0,1,2")] = "",
    only: Annotated[
        list[str] | None, typer.Option(help="A part of the runs: arm=..,labels=..,seed=..")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of each run.")] = None,
    executor: Annotated[
        Executor, typer.Option(help="This machine, a queue, or manifests for a cluster.")
    ] = "local",
    jobs: Jobs = None,
    gpus: Gpus = None,
    settings: OfCluster = None,
    arms: Annotated[
        list[str] | None,
        typer.Option("--arm", metavar="NAME=KEY=VALUE", help="Of several tasks: one arm more."),
    ] = None,
    reference: Annotated[
        str, typer.Option(help="Arm to compare with.", show_default="that of the study")
    ] = "",
    task: Annotated[str, typer.Option(hidden=True, help="One piece, as jobs ask for it.")] = "",
    quiet: Quiet = False,
) -> None:
    """Arms x label budgets or data sets x seeds, with statistics; resumable."""
    if process_count() > 1 and not task:
        raise UsageError(
            f"{process_count()} processes cannot do `medssl study` together",
            "each of its runs can",
            "start it as one process, with --gpus for each run",
        )
    given = {"--methods": methods, "--labels": labels, "--seeds": seeds, "--reference": reference}
    more = [word for key, value in given.items() if value for word in (key, value)]
    more += [word for arm in arms or [] for word in ("--arm", arm)]

    def lead() -> None:
        from medssl.pipeline.league import League, Place, against, load_any, select
        from medssl.pipeline.progress import make_reporter
        from medssl.pipeline.study import checked_cells

        chosen = against(load_any(name, methods, labels, seeds, arms or []), reference)
        if isinstance(chosen, League):
            select(chosen, only or [])
        else:
            checked_cells(chosen, only or [])
        reporter = make_reporter(quiet)

        from medssl.pipeline.league_run import run_league
        from medssl.pipeline.study_run import run_study, run_task

        command = shlex.join(["medssl", *sys.argv[1:]])
        how: dict[str, Any] = {"executor": executor, "jobs": jobs, "gpus": gpus}
        how["settings"] = _settings(settings or [])

        def carry(place: Place, further: Sequence[str]) -> "StudyEnd":
            words = [place.named_in(name), *more]
            return run_study(place.study, reporter, further, threads, command, words=words, **how)

        if isinstance(chosen, League):
            end = run_league(chosen, reporter, only or [], command, carry)
        elif task:
            repeats = shlex.join(["medssl", "study", name, *more])
            typer.echo(run_task(chosen, task, reporter, threads, repeats))
            return
        else:
            words = [name, *more]
            end = run_study(chosen, reporter, only or [], threads, command, words=words, **how)
        typer.echo(str(end))
        end.check()

    together(lead)


def _settings(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if wrong := next((key for key, equals, _ in pairs if not (key and equals)), None):
        raise UsageError(f"--set {wrong} has no value", do="write it as KEY=VALUE")
    return {key: value for key, _, value in pairs}


def compare(
    pipeline: Annotated[
        str,
        typer.Argument(metavar="PIPELINE", help="name", autocompletion=completion.pipelines),
    ],
    reference: Annotated[
        str,
        typer.Option(help="Method to compare with.", show_default="the usual one of the family"),
    ] = "",
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as a page, with a figure.")
    ] = None,
) -> None:
    """Table across the finished runs of a pipeline, with intervals and p-values."""
    from medssl.pipeline.compare import compare as compared

    found = compared(pipeline, reference)
    typer.echo(str(found))
    if html is not None:
        from medssl.atomic import write_text
        from medssl.pipeline.compare_page import compare_page

        write_text(html, compare_page(pipeline, found))
        typer.echo(f"page     {html}")
