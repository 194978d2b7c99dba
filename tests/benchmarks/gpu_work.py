"""What the benchmark of a GPU trains: methods at published size on random batches, or tiny ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medssl.data.bags.bag import BagBatch
from medssl.data.batch import Batch
from medssl.data.radiograph.batch import RadiographBatch
from medssl.data.scan.batch import ScanBatch
from medssl.methods.encoder_method import PretrainTask
from medssl.methods.method import BagTask, GradeTask, Method, Task
from medssl.methods.registry import implementation, settings_class
from medssl.networks.grader_settings import GraderSettings
from medssl.networks.settings import NetworkSettings
from medssl.networks.unet_settings import UNetSettings
from medssl.transforms.radiograph_chain import RadiographAugment


@dataclass(frozen=True)
class Work:
    """One training.

    Attributes:
        title: for a reader, with its size.
        method: built anew, with the same weights.
        batch: of a stream, by its number; random.
        given: what its predictor is asked for.
        compiles: whether compiled networks are measured too.
    """

    title: str
    method: Callable[[], Method[Any]]
    batch: Callable[[str, int], Any]
    given: Tensor
    compiles: bool = False


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _patches(kind: str, number: int, size: int, patch: tuple[int, ...], classes: int) -> Batch:
    image = _random(size, 2, 1, *patch, seed=number)
    label = (image[:, 0, 0] * classes).to(torch.uint8)
    start = torch.tensor([[[side // 4 for side in patch], [0, 0, 0]]] * size)
    ids = tuple(f"{kind}{item}" for item in range(size))
    return Batch(image, label if kind == "labelled" else None, start, ids)


def _segment(name: str, title: str, network: Any, patch: tuple[int, int, int], **keys: Any) -> Work:
    kind = settings_class(name)
    preset = keys.pop("preset", None)
    settings = kind(**keys) if preset is None else kind.preset(preset)

    def method() -> Method[Any]:
        task = Task(("image",), ("background", "one", "two"), patch, network.sized(patch))
        found: Method[Any] = implementation(settings)(settings, task, 0)
        return found

    def batch(kind: str, number: int) -> Batch:
        return _patches(kind, number, 2, patch, 3)

    return Work(title, method, batch, _random(1, 1, *patch), True)


def tracoco(small: bool) -> Work:
    patch = (16, 16, 16) if small else (112, 112, 80)
    width, levels = (2, 3) if small else (16, 5)
    network = NetworkSettings(name="vnet", width=width, levels=levels, norm="batch", dropout=0.5)
    title = f"TraCoCo, V-Net of width {width}, {'x'.join(map(str, patch))}, 2 + 2 patches"
    return _segment("tracoco", title, network, patch, preset="tracoco_released")


def planned_network(small: bool) -> UNetSettings:
    """The U-Net that nnU-Net plans for 128^3 voxels of 1 mm."""
    widths = (4, 8, 8) if small else (32, 64, 128, 256, 320, 320)
    strides = [[1, 1, 1], *[[2, 2, 2]] * (len(widths) - 1)]
    return UNetSettings(name="plain_unet", features=widths, strides=strides)


def nnunet(small: bool) -> Work:
    patch = (16, 16, 16) if small else (128, 128, 128)
    title = f"nnU-Net's planned network, supervised, {'x'.join(map(str, patch))}, 2 patches"
    return _segment("supervised", title, planned_network(small), patch)


def alice(small: bool) -> Work:
    side, pairs, width = (16, 2, 12) if small else (64, 8, 48)
    kind, patch = settings_class("alice"), (side,) * 3
    chosen = dict(kind.presets["paper"])
    if small:
        chosen["masking"] = {"side": 4}
        chosen["head"] = {"hidden": 16, "bottleneck": 16, "outputs": 16}
    network = NetworkSettings(
        name="swin_fpn",
        width=width,
        levels=3 if small else 4,
        depths=(1, 1) if small else (2, 2, 2),
        heads=(2, 2) if small else (6, 12, 24),
        window=2 if small else 4,
    )

    def method() -> Method[Any]:
        settings = kind(**chosen)
        task = PretrainTask(network, patch, ("one",), pairs)
        found: Method[Any] = implementation(settings)(settings, task, 0)
        return found

    def batch(kind: str, number: int) -> ScanBatch:
        source = _random(pairs, 2, 1, *patch, seed=number)
        unknown, ids = torch.full((pairs, 2), -1), tuple(f"scan{n}" for n in range(pairs))
        return ScanBatch(source, None, patch, torch.arange(pairs) + 1, unknown, ids)

    title = f"Alice, Swin encoder of width {width}, {side}^3, {pairs} pairs"
    return Work(title, method, batch, _random(2, 1, *patch))


def snuffy(small: bool) -> Work:
    patches, width = (300, 16) if small else (100_000, 384)

    def method() -> Method[Any]:
        settings = settings_class("snuffy")()
        task = BagTask(width, ("negative", "positive"), (1, 1))
        found: Method[Any] = implementation(settings)(settings, task, 0)
        return found

    bags = [_random(patches, width, seed=number) for number in range(2)]

    def batch(kind: str, number: int) -> BagBatch:
        return BagBatch(bags[number % 2], torch.tensor(number % 2), ("slide",))

    return Work(f"Snuffy, a bag of {patches:,} patches", method, batch, bags[0])


def semixup(small: bool) -> Work:
    side, images, width = (24, 4, 2) if small else (128, 20, 32)

    def method() -> Method[Any]:
        settings = settings_class("semixup")()
        network = GraderSettings(width=width, init="he", dropout=0.35)
        grades, augment = tuple(f"KL{n}" for n in range(5)), RadiographAugment.of("semixup")
        task = GradeTask(("lateral", "medial"), grades, side, network, augment)
        found: Method[Any] = implementation(settings)(settings, task, 0)
        return found

    def batch(kind: str, number: int) -> RadiographBatch:
        image = (_random(images, 2, side, side, seed=number) * 255).to(torch.uint8)
        grade = torch.arange(images) % 5 if kind == "labelled" else None
        return RadiographBatch(image, grade, tuple(f"knee{n}" for n in range(images)))

    title = f"Semixup, Siamese network of width {width}, {side} px, {images} + {images} images"
    return Work(title, method, batch, _random(2, 2, side, side) * 2 - 1, True)


WORKS = {
    "tracoco": tracoco,
    "nnunet": nnunet,
    "alice": alice,
    "snuffy": snuffy,
    "semixup": semixup,
}
