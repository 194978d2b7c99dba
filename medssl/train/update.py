"""One update of all weights: intensities, forward part by part, backward, clip, step.

Everything random is a function of (seed, step).
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medssl.data.augment import augment
from medssl.data.batch import Batch
from medssl.errors import MedsslError
from medssl.methods.method import Method, Progress
from medssl.settings import AugmentSettings, TrainSettings
from medssl.train.schedule import learning_rate


@dataclass(frozen=True)
class Update:
    """What an update needs beside its batches.

    Attributes:
        method: on the device where it trains.
        changes: random intensity changes.
        scaler: of gradients in float16; does nothing otherwise.
    """

    method: Method
    settings: TrainSettings
    changes: AugmentSettings
    seed: int
    device: torch.device
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    def __call__(self, batches: dict[str, Batch], progress: Progress) -> dict[str, float]:
        """Value of every loss term, their sum and the learning rate.

        Raises:
            MedsslError: a term is not finite; the weights are as they were.
        """
        dropout, rest = step_seeds(self.seed, progress.step)
        torch.manual_seed(dropout)
        generator = torch.Generator(self.device).manual_seed(rest)
        batches = {kind: batch.to(self.device) for kind, batch in batches.items()}
        for batch in batches.values():
            batch.image = augment(batch.image, self.changes, generator)
        rate = self._set_rate(progress)
        self.optimiser.zero_grad(set_to_none=True)
        terms = self._backward(batches, progress, generator)
        refuse_non_finite(terms, batches, progress.step)
        self._step()
        self.method.after_step(progress)
        losses = {f"loss/{name}": value for name, value in terms.items()}
        return {"loss": sum(terms.values()), **losses, "learning_rate": rate}

    def _set_rate(self, progress: Progress) -> float:
        rate = learning_rate(self.settings.optimiser, progress.step, progress.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        return rate

    def _backward(
        self, batches: dict[str, Batch], progress: Progress, generator: torch.Generator
    ) -> dict[str, float]:
        """Gradients of every part; the values of the terms are fetched from the device once."""
        terms: dict[str, Tensor] = {}
        for part in range(self.method.parts):
            with self._autocast():
                found = self.method(batches, progress, generator, part)
            loss = torch.stack(list(found.values())).sum()
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            terms |= {name: value.detach() for name, value in found.items()}
        return dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.settings.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.settings.precision))

    def _step(self) -> None:
        if self.settings.clip_norm is not None:
            self.scaler.unscale_(self.optimiser)
            for network in self.method.networks():
                nn.utils.clip_grad_norm_(network.parameters(), self.settings.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()


def make_update(
    method: Method,
    settings: TrainSettings,
    changes: AugmentSettings,
    seed: int,
    device: torch.device,
) -> Update:
    """`method` on `device` in the wanted memory format, with its optimiser."""
    method.to(device).train()
    if settings.channels_last:
        method.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return Update(
        method,
        settings,
        changes,
        seed,
        device,
        build_optimiser(method, settings),
        torch.amp.GradScaler(device.type, enabled=settings.precision == "float16"),
    )


def build_optimiser(method: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Optimiser of all trainable parameters."""
    chosen = settings.optimiser
    trainable = [p for p in method.parameters() if p.requires_grad]
    if chosen.name == "adamw":
        return torch.optim.AdamW(
            trainable, lr=chosen.learning_rate, weight_decay=chosen.weight_decay
        )
    return torch.optim.SGD(
        trainable,
        lr=chosen.learning_rate,
        momentum=chosen.momentum,
        weight_decay=chosen.weight_decay,
    )


def step_seeds(seed: int, step: int) -> tuple[int, int]:
    """Seeds of one step: of dropout, which draws from torch's own generator, and of all else."""
    first, second = np.random.SeedSequence([seed, step]).generate_state(2)
    return int(first), int(second)


def refuse_non_finite(terms: dict[str, float], batches: dict[str, Batch], step: int) -> None:
    """Name the terms that are not finite and where they came from.

    Raises:
        MedsslError: there is such a term. Cases whose own voxels are not finite are named alone,
            otherwise all of the batch.
    """
    bad = [name for name, value in terms.items() if not isfinite(value)]
    if not bad:
        return
    cases = {case for batch in batches.values() for case in batch.ids}
    damaged = {
        case
        for batch in batches.values()
        for case, image in zip(batch.ids, batch.image, strict=True)
        if not bool(image.isfinite().all())
    }
    named = ", ".join(sorted(damaged or cases))
    raise MedsslError(
        f"loss term{'s' * (len(bad) > 1)} {' and '.join(bad)} not finite at step {step}",
        f"voxels of {named} are not finite" if damaged else f"the batch held the cases {named}",
        "look at these cases with `medssl data check`, or lower train.optimiser.learning_rate",
    )
