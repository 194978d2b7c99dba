"""A tiny DINO on tiles of 40 pixels, so that a step takes a few hundredths of a second."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medssl.data.slide.tile_batch import TileBatch, TileStream
from medssl.methods.method import Progress
from medssl.methods.pretrain.dino import Dino
from medssl.methods.settings.dino import Settings
from medssl.networks.tile_settings import TileEncoderSettings
from medssl.settings import LoopSettings
from medssl.train.loop import Callbacks, fit

SMALL: dict[str, Any] = {
    "global_crops": {"side": 32},
    "local_crops": {"side": 16, "count": 2},
    "head": {"outputs": 24, "hidden": 16, "bottleneck": 8},
}
ADAPTERS = {"bottleneck": 4, "scale": 10.0}


@dataclass
class Slide:
    """Stripes of two widths in three directions, with noise: six kinds of tile."""

    id: str
    count: int = 24

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        rows, columns = np.mgrid[:40, :40] / 40
        tiles = []
        for number in range(self.count):
            angle, waves = np.pi / 3 * (number % 3), (2, 6)[number // 3 % 2]
            along = np.cos(angle) * columns + np.sin(angle) * rows
            wave = np.sin(2 * np.pi * (waves * along + rng.random()))
            plain = 0.5 + 0.35 * wave[..., None] * (1, 0.6, 0.8)
            tiles.append(np.clip(plain + 0.05 * rng.normal(size=(40, 40, 3)), 0, 1) * 255)
        self.tiles = np.stack(tiles).astype(np.uint8)


@pytest.fixture
def build() -> Callable[..., Dino]:
    """`build(adapters=True, teacher={...})`: the method, with other settings where named."""

    def make(
        *, adapters: bool = False, name: str = "vit_tiny", seed: int = 0, **settings: Any
    ) -> Dino:
        side = 32 if name == "vit_tiny" else 64
        encoder = TileEncoderSettings(name=name, side=side, adapters=ADAPTERS if adapters else None)
        return Dino(Settings(**{**SMALL, **settings}), encoder, seed).train()

    return make


@pytest.fixture
def tiles() -> Callable[..., dict[str, TileBatch]]:
    """`tiles(number)`: that batch of six tiles."""
    stream = TileStream([Slide("stripes")], 6, seed=0)
    return lambda number=0: {"tiles": stream.batch(number)}


@pytest.fixture
def terms() -> Callable[..., dict[str, torch.Tensor]]:
    """The loss terms of one step, all randomness from one seed."""

    def compute(
        method: Dino, given: dict[str, TileBatch], seed: int = 0, step: int = 1, steps: int = 100
    ) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return method(given, Progress(step, steps), torch.Generator().manual_seed(seed))

    return compute


@dataclass
class Training:
    """A run of the loop and what it told."""

    state_file: Path
    method: Dino
    on_step: Callable[[int], None] = lambda step: None
    losses: dict[int, float] = field(default_factory=dict)

    def run(self, **settings: Any) -> None:
        """Six steps, or as `settings` (keys of LoopSettings) say."""
        optimiser = {
            "name": "adamw", "learning_rate": 1e-3, "schedule": "constant",
            "weight_decay": 0.04, "weight_decay_end": 0.4, "decay_vectors": False,
        }  # fmt: skip
        chosen = {"steps": 6, "device": "cpu", "clip_norm": 3.0, "optimiser": optimiser}
        fit(
            self.method,
            {"tiles": TileStream([Slide("stripes")], 8, seed=0)},
            LoopSettings(**{**chosen, **settings}),
            0,
            self.state_file,
            Callbacks(None, lambda kind, step, values: None),
            self,
            self,
        )

    def begin(self, total: int, start: int) -> None: ...

    def step(self, step: int, values: dict[str, float]) -> None:
        self.losses[step] = values["loss/dino"]
        self.on_step(step)

    def note(self, text: str) -> None: ...

    def end(self) -> None: ...

    def metrics(self, step: int, values: dict[str, float]) -> None: ...


@pytest.fixture
def training(tmp_path: Path) -> Callable[..., Training]:
    """`training(method)`: a run with a state file that all runs of the test share."""
    return lambda method, **fields: Training(tmp_path / "state.pt", method, **fields)
