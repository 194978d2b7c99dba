"""Small graders and batches of radiographs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from medssl.data.radiograph.batch import RadiographBatch
from medssl.methods.method import GradeMethod, GradeTask, Progress
from medssl.methods.registry import implementation, settings_class
from medssl.networks.grader_settings import GraderSettings
from medssl.transforms.radiograph_chain import RadiographAugment

GRADES = ("KL0", "KL1", "KL2", "KL3", "KL4")
STILL = RadiographAugment.of(
    {"semixup": {"noise_chance": 0, "rotation": 0, "pad": 1, "gamma_chance": 0}}
)


@pytest.fixture
def build() -> Callable[..., GradeMethod]:
    """`build("semixup", alpha=1.0)`: the method on a narrow network without dropout.

    `still` takes every random change away from T, so that views are the images themselves.
    """

    def make(
        name: str,
        *,
        still: bool = False,
        dropout: float = 0.0,
        width: int = 2,
        side: int = 24,
        seed: int = 0,
        network: dict[str, Any] | None = None,
        **settings: Any,
    ) -> GradeMethod:
        chosen = settings_class(name)(**settings)
        sizes = {"width": width, "dropout": dropout, "init": "he"} | (network or {})
        augment = STILL if still else RadiographAugment.of("semixup")
        task = GradeTask(("lateral", "medial"), GRADES, side, GraderSettings(**sizes), augment)
        return implementation(chosen)(chosen, task, seed).train()

    return make


@pytest.fixture
def batches() -> Callable[..., dict[str, RadiographBatch]]:
    """`batches(3, 4)`: so many labelled and unlabelled images of random bytes and grades."""

    def make(
        labelled: int = 3, unlabelled: int = 4, *, side: int = 24, seed: int = 0
    ) -> dict[str, RadiographBatch]:
        g = torch.Generator().manual_seed(seed)
        found = {}
        for stream, count in (("labelled", labelled), ("unlabelled", unlabelled)):
            image = torch.randint(256, (count, 2, side, side), dtype=torch.uint8, generator=g)
            grade = torch.randint(5, (count,), generator=g)
            ids = tuple(f"{stream}{n}" for n in range(count))
            found[stream] = RadiographBatch(image, grade if stream == "labelled" else None, ids)
        return found

    return make


@pytest.fixture
def terms() -> Callable[..., dict[str, torch.Tensor]]:
    """Loss terms of one step with equal draws for equal seeds."""

    def compute(
        method: GradeMethod,
        given: dict[str, RadiographBatch],
        *,
        seed: int = 0,
        step: int = 100,
        steps: int = 100,
    ) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return method(given, Progress(step, steps), torch.Generator().manual_seed(seed))

    return compute
