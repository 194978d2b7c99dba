"""The pre-training stage: what is learnt from, loop, probes, checkpoint of what is handed on.

What a method learns from is a module of this folder: `volumes`, `mixed` (images and volumes) and
`tiles`, each with the functions `learner`, `description` and `probes`.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel
from torch import nn

from medssl.data.stream import BatchStream
from medssl.methods.method import Method
from medssl.pipeline.plan import Job
from medssl.train.checkpoint import save_checkpoint
from medssl.train.loop import Callbacks, configure_torch, fit
from medssl.train.track import Tracker


class Learner(Protocol):
    """A method that trains an encoder."""

    def encoder(self) -> nn.Module:
        """What pre-training hands on."""


class Probing(Protocol):
    """What is asked of the network while it learns."""

    def begin(self) -> None:
        """Ask the network as it is now, unless that is known."""

    def __call__(self, step: int) -> dict[str, float]:
        """Answers by name."""


@dataclass(frozen=True)
class Material:
    """A method with what it learns from.

    Attributes:
        method: with fresh networks; also a `Learner`.
        described: what the checkpoint says of itself, but for its step and metrics.
    """

    method: Any
    streams: Mapping[str, BatchStream]
    described: BaseModel


def prepare(job: Job) -> Material:
    """The method of a pre-training, with what it learns from.

    Raises:
        Stopped: a signal asked for it.
        UsageError, DataError: the settings or the data do not allow it.
    """
    module = _module(job)
    method, streams = module.learner(job)
    return Material(method, streams, module.description(job.plan, method))


def pretrain(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Train, probe and leave the checkpoint `last`.

    Raises:
        Stopped: a signal asked for it; the state is saved.
        DataError: a file cannot be used.
    """
    plan, material = job.plan, job.data
    chosen, folder = plan.config.pipeline.train, plan.last.folder
    probes: Probing | None = _module(job).probes(job, material.method, tracker)
    if probes is not None:
        probes.begin()
    configure_torch(chosen.threads, chosen.deterministic)
    target = folder / "checkpoint" / "last"
    method: Method[Any] = material.method
    fit(
        method,
        material.streams,
        chosen,
        lambda batch, _: batch,
        plan.config.pipeline.seed,
        folder / "state.pt",
        Callbacks(probes, _Saver(material.method, material.described, target), selects=None),
        job.reporter,
        tracker,
    )
    tracker.artifact(target, "checkpoint")
    return {"patients": len(plan.cohort.seen)}


def _module(job: Job) -> Any:
    kind = job.plan.config.method.learns_from
    return importlib.import_module(f"medssl.families.pretrain.{kind}")


class _Saver:
    """Writes what is handed on as checkpoint `last`."""

    def __init__(self, method: Learner, described: BaseModel, target: Path) -> None:
        self._method, self._described, self._target = method, described, target

    def __call__(self, kind: str, step: int, metrics: dict[str, float]) -> None:
        """Write the checkpoint."""
        told = self._described.model_copy(update={"step": step, "metrics": metrics})
        save_checkpoint(self._target, self._method.encoder(), told)
