"""Small methods and batches in double precision, for tests that compare numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from medssl.data.batch import Batch
from medssl.methods.method import LabelledCase, Method, Progress, Task
from medssl.methods.registry import implementation, settings_class
from medssl.networks.settings import NetworkSettings

PATCH = (8, 8, 8)


@pytest.fixture
def build() -> Callable[..., Method]:
    """`build("tracoco", translation={...})`: the method with tiny V-Nets, without dropout.

    `network` replaces every network by one module: nn.Identity() makes the image the logits.
    """

    def make(
        name: str,
        *,
        network: nn.Module | None = None,
        patch: tuple[int, int, int] = PATCH,
        channels: int = 1,
        classes: int = 2,
        norm: str = "instance",
        dropout: float = 0.0,
        seed: int = 0,
        labelled: tuple[LabelledCase, ...] = (),
        **settings: Any,
    ) -> Method:
        sizes = NetworkSettings(width=2, levels=2, norm=norm, dropout=dropout)
        names = [
            tuple(f"{kind}{n}" for n in range(m)) for kind, m in (("c", channels), ("k", classes))
        ]
        chosen = settings_class(name)(**settings)
        task = Task(*names, patch, sizes, labelled=labelled)
        method = implementation(chosen)(chosen, task, seed)
        if network is not None:
            method.pair = nn.ModuleList([network, network])
        return method.double().train()

    return make


@pytest.fixture
def batches() -> Callable[..., dict[str, Batch]]:
    """`batches(starts=...)`: two labelled and two unlabelled items of random voxels and labels.

    `starts` holds each view's start, equal for all items: [[x, y, z] of view 1, of view 2].
    """

    def make(
        *,
        patch: tuple[int, int, int] = PATCH,
        starts: Sequence[Sequence[int]] = ((2, 1, 3), (0, 0, 0)),
        channels: int = 1,
        classes: int = 2,
        seed: int = 0,
    ) -> dict[str, Batch]:
        g = torch.Generator().manual_seed(seed)
        found = {}
        for stream in ("labelled", "unlabelled"):
            size = (2, len(starts), channels, *patch)
            image = torch.randn(size, generator=g, dtype=torch.float64)
            label = torch.randint(classes, (2, *patch), generator=g, dtype=torch.uint8)
            start = torch.tensor([list(starts)] * 2)
            found[stream] = Batch(
                image, label if stream == "labelled" else None, start, (f"{stream}0", f"{stream}1")
            )
        return found

    return make


@pytest.fixture
def terms() -> Callable[..., dict[str, torch.Tensor]]:
    """Loss terms of one part, or of all, at one step, each part with its own equal draws."""

    def compute(
        method: Method,
        given: dict[str, Batch],
        parts: Sequence[int] | None = None,
        step: int = 1,
        steps: int = 100,
    ) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for part in range(method.parts) if parts is None else parts:
            generator = torch.Generator().manual_seed(part)
            torch.manual_seed(part)
            found |= method(given, Progress(step, steps), generator, part)
        return found

    return compute
