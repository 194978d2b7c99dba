"""A method of two weights, so that a test of the loop takes no time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from medssl.data.batch import Batch, Stream
from medssl.data.patches import PatchSampler, SinglePatch
from medssl.data.stream import PatchStream
from medssl.methods.method import Progress, SegmentMethod
from medssl.settings import TrainSettings
from medssl.train.fine_tune import FineTune
from medssl.train.loop import Callbacks, fit
from medssl.train.state import TrainState
from medssl.transforms.chain import Augment

PATCH = (4, 4, 4)
SEED = 3
CHANGES = Augment.of({"basic": {"flip": "half", "gamma": 0.2, "brightness": 0.1}})


class Pair(SegmentMethod):
    """Two networks that learn the mask from the image; each has a part and a term of its own.

    Attributes:
        scale: what the second term is multiplied by.
        updated: steps after which the method's own update ran.
    """

    streams: tuple[Stream, ...] = ("labelled",)
    parts = 2

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        layers = (nn.Sequential(nn.Conv3d(1, 1, 1), nn.Dropout(0.5)) for _ in range(2))
        self.pair = nn.ModuleList(layers)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.5)
        self.scale = scale
        self.updated: list[int] = []

    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        return SinglePatch(patch)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        batch = batches["labelled"]
        image = batch.image[:, 0]
        image = image + 0.1 * torch.rand(image.shape, generator=generator)
        error = ((self.pair[part](image)[:, 0] - batch.truth) ** 2).mean()
        return {f"error_{part + 1}": error * (self.scale if part else 1.0)}

    def after_step(self, progress: Progress) -> None:
        self.updated.append(progress.step)

    def networks(self) -> Iterable[nn.Module]:
        return self.pair

    def predictor(self) -> nn.Module:
        return self.pair[0]


@dataclass
class ToyCase:
    id: str
    image: np.ndarray
    mask: np.ndarray
    floor: float = 0.0
    partial: bool = False
    outlined: tuple[bool, ...] | None = None


def toy_cases() -> list[ToyCase]:
    rng = np.random.default_rng(0)
    images = (rng.random((1, 6, 6, 6)).astype(np.float32) for _ in range(4))
    return [ToyCase(f"c{n}", i, (i[0] > 0.5).astype(np.uint8)) for n, i in enumerate(images)]


@dataclass
class Training:
    """A run of the loop and all that it told; every field may be replaced before `run`."""

    state_file: Path
    method: SegmentMethod = field(default_factory=Pair)
    cases: list[ToyCase] = field(default_factory=toy_cases)
    validate: Callable[[int], dict[str, float]] | None = None
    selects: str = "dice"
    fine_tune: FineTune | None = None
    on_step: Callable[[int], None] = lambda step: None
    saved: list[tuple[str, int]] = field(default_factory=list)
    steps: dict[int, dict[str, float]] = field(default_factory=dict)
    logged: dict[int, dict[str, float]] = field(default_factory=dict)
    ended: int = 0

    def run(self, **settings: Any) -> TrainState:
        """Train for 6 steps, or as `settings` (keys of TrainSettings) say."""
        chosen = TrainSettings(**{"steps": 6, "patch": PATCH, "device": "cpu", **settings})
        stream = PatchStream("labelled", self.cases, SinglePatch(PATCH), CHANGES, 2, SEED)
        return fit(
            self.method,
            {"labelled": stream},
            chosen,
            SEED,
            self.state_file,
            Callbacks(self.validate, self._save, self.selects),
            self,
            self,
            self.fine_tune,
            1 if chosen.workers is None else chosen.workers,
        )

    @property
    def weights(self) -> Tensor:
        return nn.utils.parameters_to_vector(self.method.parameters()).detach()

    def _save(self, kind: str, step: int, values: dict[str, float]) -> None:
        self.saved.append((kind, step))

    def begin(self, total: int, start: int) -> None:
        self.began = (total, start)

    def step(self, step: int, values: dict[str, float]) -> None:
        self.steps[step] = values
        self.on_step(step)

    def note(self, text: str) -> None: ...

    def end(self) -> None:
        self.ended += 1

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.logged[step] = values


@pytest.fixture
def training(tmp_path: Path) -> Callable[..., Training]:
    """`training(...)`: a run with a state file that all runs of the test share."""

    def make(**fields: Any) -> Training:
        return Training(tmp_path / "state.pt", **fields)

    return make


@pytest.fixture
def pair() -> type[Pair]:
    return Pair
