"""The verbs that make a pipeline and carry it out; each calls one function."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from medssl import completion
from medssl.cli_data import Quiet
from medssl.environment import process_count

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
Fresh = Annotated[bool, typer.Option("--resume/--fresh", help="Continue, or train anew.")]


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
    quiet: Quiet = False,
) -> None:
    """Look into a folder and write its data spec and pipeline; asks nothing, overwrites nothing."""
    from medssl.names import printable
    from medssl.pipeline.init import initialise
    from medssl.pipeline.progress import make_reporter

    said = initialise(folder, make_reporter(quiet), labels, name, dry_run)
    typer.echo("\n".join(map(printable, said.split("\n"))))


def plan(
    pipeline: Annotated[
        str,
        typer.Argument(
            metavar="PIPELINE", help="name or YAML file", autocompletion=completion.pipelines
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="e.g. train.steps=500", show_default=False),
    ] = None,
    memory: Annotated[
        str, typer.Option(help="That training may take: 8GB, 24GB, 40GB ...", show_default="found")
    ] = "",
    device: Annotated[
        Literal["cpu", "cuda"] | None,
        typer.Option(help="To plan for; the one that trains.", show_default=False),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Put the keys into the pipeline file.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Voxels, patch, batch, network and steps for these scans, each with its reason."""
    from medssl.pipeline.known_keys import refuse_unknown_keys

    given = [*(overrides or [])]
    given += [f"plan.memory={memory}"] if memory else []
    given += [f"plan.device={device}"] if device else []
    refuse_unknown_keys(pipeline, given)
    from medssl.pipeline.planned import plan_in_words
    from medssl.pipeline.progress import make_reporter

    typer.echo(plan_in_words(pipeline, given, make_reporter(quiet), write))


def demo(quiet: Quiet = False) -> None:
    """A folder of simulated brains, 8 of them with masks: scores, masks for all, pictures."""
    from medssl.families.segment.demo import demo as show
    from medssl.pipeline.progress import make_reporter

    typer.echo(show(make_reporter(quiet)))


def run(
    pipeline: PipelineName, overrides: Overrides = None, resume: Fresh = True, quiet: Quiet = False
) -> None:
    """Train, predict and evaluate; what is done already is skipped. A folder may stand for it."""
    _carry_out("run", pipeline, overrides, resume, quiet)


def pretrain(
    pipeline: PipelineName, overrides: Overrides = None, resume: Fresh = True, quiet: Quiet = False
) -> None:
    """Train an encoder on unlabelled cases, for other pipelines to start from."""
    _carry_out("pretrain", pipeline, overrides, resume, quiet)


def train(
    pipeline: PipelineName, overrides: Overrides = None, resume: Fresh = True, quiet: Quiet = False
) -> None:
    """Train alone; prints the folder of the model, which `predict` takes."""
    _carry_out("train", pipeline, overrides, resume, quiet)


def _carry_out(
    verb: str, pipeline: str, overrides: list[str] | None, resume: bool, quiet: bool
) -> None:
    together(lambda: _lead(verb, pipeline, overrides, resume, quiet))


def together(lead: Callable[[], None]) -> None:
    """In the first process; others that torchrun started beside it follow its orders."""
    if process_count() == 1:
        lead()
        return
    from medssl.train.distributed import TEAM

    if not TEAM.leads:
        from medssl.pipeline.run import follow

        follow()
        return
    with TEAM.leading():
        lead()


def _lead(verb: str, pipeline: str, overrides: list[str] | None, resume: bool, quiet: bool) -> None:
    if verb == "run" and "=" not in pipeline and Path(pipeline).is_dir():
        pipeline = pipeline_for(pipeline, quiet)
    from medssl.pipeline.known_keys import refuse_unknown_keys

    refuse_unknown_keys(pipeline, overrides or [])
    from medssl.pipeline.config import load_config, refuse_without_encoder

    config = load_config(pipeline, overrides or [])
    if verb == "pretrain":
        refuse_without_encoder(config)

    from medssl.pipeline import run as carried_out
    from medssl.pipeline.progress import make_reporter

    function = carried_out.train if verb == "train" else carried_out.run
    typer.echo(function(config, make_reporter(quiet), resume))


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
