"""The pre-training stage: what is learnt from, loop, probes, checkpoint of what is handed on.

What a method learns from is a module of this folder: `volumes`, `mixed` (images and volumes) and
`tiles`, each with the functions `learner`, `description` and `probes`.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from medssl.atomic import write_bytes
from medssl.data.prefetch import BatchStream
from medssl.device import choose_device
from medssl.families.pretrain.cohort import PROBES, Numbers, keep_probes
from medssl.pipeline.plan import Job
from medssl.train.checkpoint import save_checkpoint
from medssl.train.distributed import TEAM
from medssl.train.loop import Callbacks, configure_torch, fit
from medssl.train.track import Tracker


def prepare(job: Job) -> tuple[Any, Mapping[str, BatchStream]]:
    """The method of a pre-training, with what it learns from.

    Raises:
        Stopped: a signal asked for it.
        UsageError, DataError: the settings or the data do not allow it.
    """
    learner: tuple[Any, Mapping[str, BatchStream]] = _module(job).learner(job)
    return learner


def pretrain(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Train, probe and leave the checkpoint `last`.

    Raises:
        Stopped: a signal asked for it; the state is saved.
        DataError: a file cannot be used.
    """
    plan, module, (method, streams) = job.plan, _module(job), job.data
    chosen, folder = plan.config.pipeline.train, plan.last.folder
    with TEAM.first():
        probes: Probing | None = module.probes(job, method, tracker)
    if probes is not None:
        with TEAM.joined(choose_device(chosen.device)):
            probes.begin()
    configure_torch(chosen.threads, chosen.deterministic)
    described, target = module.description(plan, method), folder / "checkpoint" / "last"

    def save(kind: str, step: int, metrics: dict[str, float]) -> None:
        told = described.model_copy(update={"step": step, "metrics": metrics})
        save_checkpoint(target, method.encoder(), told, method.decoder_too())

    fit(
        method,
        streams,
        chosen,
        plan.config.pipeline.seed,
        folder / "state.pt",
        Callbacks(probes, save, selects=None),
        job.reporter,
        tracker,
    )
    tracker.artifact(target, "checkpoint")
    return {"patients": len(plan.cohort.seen)}


def _module(job: Job) -> Any:
    kind = job.plan.config.method.learns_from
    return importlib.import_module(f"medssl.families.pretrain.{kind}")


class Probing(ABC):
    """Asks the same questions of the network whenever it is called; answers are kept.

    probes.json and pictures/ lie in the stage's folder.
    """

    def __init__(self, job: Job, method: Any, tracker: Tracker) -> None:
        pipeline = job.plan.config.pipeline
        self._method, self._settings = method, pipeline.probe
        self._device = choose_device(pipeline.train.device)
        self._folder, self._tracker = job.plan.last.folder, tracker

    @abstractmethod
    def ask(self, step: int) -> dict[str, dict[str, float]]:
        """Answers of what is handed on (named ""), and of further parts of the method.

        Args:
            step: 0 before the network learns.
        """

    def plain(self) -> dict[str, Numbers]:
        """Answers of what needs no training, by its name."""
        return {}

    @torch.no_grad()
    def begin(self) -> None:
        """Probe what needs no training and the network as it is now, unless that is known."""
        if TEAM.agreed((self._folder / PROBES).is_file()):
            return
        self._method.to(self._device).eval()
        found = {**self.plain(), **_named("untrained", self.ask(0))}
        if TEAM.leads:
            keep_probes(self._folder, found)

    @torch.no_grad()
    def __call__(self, step: int) -> dict[str, float]:
        """Answers by "probe/name"; those of the method's own parts by "probe/part/name"."""
        found = self.ask(step)
        if TEAM.leads:
            keep_probes(self._folder, _named("trained", found))
        return {
            "/".join(filter(None, ("probe", part, name))): value
            for part, kept in found.items()
            for name, value in kept.items()
            if np.isfinite(value)
        }

    def picture(self, name: str, png: bytes) -> None:
        """Leave one picture."""
        if not TEAM.leads:
            return
        path = self._folder / "pictures" / name
        write_bytes(path, png)
        self._tracker.artifact(path, "pictures")


def _named(what: str, found: Mapping[str, Numbers]) -> dict[str, Numbers]:
    return {f"{what}, {part}" if part else what: kept for part, kept in found.items()}
