"""The verb `medssl plan`."""

from typing import Annotated, Literal

import typer

from medssl import completion


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
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Voxels, patch, batch, network and steps for these scans, each with its reason."""
    from medssl.pipeline.planned import plan_in_words
    from medssl.pipeline.progress import make_reporter

    given = [*(overrides or [])]
    given += [f"plan.memory={memory}"] if memory else []
    given += [f"plan.device={device}"] if device else []
    typer.echo(plan_in_words(pipeline, given, make_reporter(quiet), write))
