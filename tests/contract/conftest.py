"""A toy of 16^3, or of 16^2, on which every method trains in a moment."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medssl.data.foreground import find_class_voxels
from medssl.data.regions import Region
from medssl.data.stream import PatchStream
from medssl.methods.method import LabelledCase, SegmentMethod, Task
from medssl.methods.registry import implementation, settings_class
from medssl.methods.segment.loss_settings import LossChoice
from medssl.networks.choice import NetworkChoice
from medssl.networks.settings import NetworkSettings
from medssl.settings import TrainSettings
from medssl.transforms.chain import Augment
from tests.contract.killing import trained

PATCHES = {"3d": (16, 16, 16), "2d": (16, 16, 1)}
CLASSES = ("background", "ball", "rim")
SEED = 5
LABELLED = tuple(LabelledCase(f"case{n}", f"patient{n // 2}", (0, 1, 2)) for n in range(4))


@dataclass
class ToyCase:
    """A noisy ball with a rim, somewhere in a volume a little larger than the patch."""

    id: str
    image: np.ndarray
    mask: np.ndarray | None
    floor: float = 0.0
    partial: bool = False
    outlined: tuple[bool, ...] | None = None

    @property
    def class_voxels(self) -> np.ndarray:
        assert self.mask is not None
        return find_class_voxels(self.mask)


def toy_case(number: int, flat: bool = False) -> ToyCase:
    rng = np.random.default_rng(number)
    centre = rng.uniform(7, 10, (3, 1, 1, 1))
    if flat:
        centre[2] = 0
    grid = np.indices((20, 18, 1 if flat else 17)) - centre
    distance = np.sqrt((grid**2).sum(0))
    mask = ((distance < 6).astype(np.uint8) + (distance < 4)).astype(np.uint8)
    image = mask + 0.3 * rng.normal(size=mask.shape)
    return ToyCase(f"case{number}", image[None].astype(np.float16), mask)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=PATCHES)
def patch(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    """Sides of the windows; of 2-D images, and of the networks for them, one is 1."""
    return PATCHES[request.param]


def build_method(
    patch: tuple[int, int, int],
    name: str,
    *,
    preset: str | None = None,
    norm: str = "instance",
    dropout: float = 0.0,
    seed: int = SEED,
    network: NetworkChoice | None = None,
    loss: LossChoice | None = None,
    regions: tuple[Region, ...] = (),
    **keys: Any,
) -> SegmentMethod:
    """The method as its defaults are, on a tiny V-Net."""
    vnet = NetworkSettings(name="vnet", width=2, levels=3, norm=norm, dropout=dropout)
    kind = settings_class(name)
    settings = kind(**keys) if preset is None else kind.preset(preset)
    sized = (network or vnet).sized(patch)
    task = Task(("T1",), CLASSES, patch, sized, labelled=LABELLED, loss=loss, regions=regions)
    return implementation(settings)(settings, task, seed)


def make_streams(
    patch: tuple[int, int, int],
    method: SegmentMethod,
    unlabelled: Callable[[np.ndarray], Any] = lambda mask: mask,
) -> dict[str, PatchStream]:
    """The streams a method asks for; `unlabelled` replaces the masks of the unlabelled cases."""
    flat = patch[2] == 1
    labelled = [toy_case(number, flat) for number in range(4)]
    others = [toy_case(number, flat) for number in range(4, 9)]
    for case in others:
        case.mask = unlabelled(case.mask)
    cases = {"labelled": labelled, "unlabelled": others}
    changes = Augment.of({"basic": {"rot90": True, "flip": "half", "gamma": 0.2, "noise": 0.05}})
    sampler = method.sampler(patch)
    return {
        kind: PatchStream(
            kind, cases[kind], sampler, changes, 2, SEED, foreground=0.5 * (kind == "labelled")
        )
        for kind in method.streams
    }


@pytest.fixture
def build(patch: tuple[int, int, int]) -> Callable[..., SegmentMethod]:
    """`build("tracoco", norm="batch")`, as `build_method`."""
    return partial(build_method, patch)


@pytest.fixture
def streams(patch: tuple[int, int, int]) -> Callable[..., dict[str, PatchStream]]:
    """`streams(method)`, as `make_streams`."""
    return partial(make_streams, patch)


def train_method(
    patch: tuple[int, int, int],
    method: SegmentMethod,
    state_file: Path,
    *,
    kill_after: int = 0,
    unlabelled: Callable[[np.ndarray], Any] = lambda mask: mask,
) -> dict[str, Any]:
    """4 steps of the real loop; all weights after."""
    return trained(
        method,
        make_streams(patch, method, unlabelled),
        TrainSettings(steps=4, patch=patch, checkpoint_every=2, device="cpu"),
        state_file,
        kill_after,
        SEED,
    )


@pytest.fixture
def train(patch: tuple[int, int, int]) -> Callable[..., dict[str, Any]]:
    """`train(method, state_file, kill_after=3)`, as `train_method`."""
    return partial(train_method, patch)
