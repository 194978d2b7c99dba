"""The synthetic volumes of the sheet of joint 2D-3D pre-training, section 12, and what is read off.

A soft disc whose 16 radii are the same in every volume; the class is only their order along z:
rising, falling, bulge, waist. So no single slice, and no mean over slices, tells the class.

Run as a script for the sheet's acceptance: arms `2d` and `joint`, seeds as given, e.g.

    python -m tests.benchmarks.ordered_discs 0 1
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from medssl.data.mixed.batch import Images, MixedBatch, Volumes
from medssl.methods.encoder_method import MixedTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.joint2d3d import Joint2d3d
from medssl.methods.settings.joint2d3d import Settings
from medssl.networks.mixed_encoder import MixedEncoder
from medssl.networks.settings import NetworkSettings

SLICES, SIDE, CLASSES = 16, 32, 4

NETWORK = NetworkSettings(
    name="slice_unet",
    slice_encoder={"name": "conv", "width": 16, "levels": 3, "pooled": "last"},
    slice_transformer={
        "width": 64, "layers": 2, "heads": 4, "points": 4, "hidden": 128, "dropout": 0.0,
    },
)  # fmt: skip

SETTINGS = {
    "images": {"prototypes": 32, "freeze_steps": 0},
    "volumes": {"prototypes": 16, "freeze_steps": 0},
    "masking": {"share": 3 / 16},
    "head": {"hidden": 64, "outputs": 64},
    "crops": {"area": (1.0, 1.0)},
    "augment": {"blur": 0.0, "noise": 0.1},
    "collapse": {"patience": None},
}


@dataclass(frozen=True)
class Discs:
    """Volumes [n, 16, 32, 32] and their classes [n]."""

    volume: Tensor
    label: Tensor


def draw_discs(count: int, seed: int) -> Discs:
    """`count` volumes, each class as often."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    label = rng.permutation(np.arange(count) % CLASSES)
    volumes = np.empty((count, SLICES, SIDE, SIDE), np.float32)
    for one, kind in zip(volumes, label, strict=True):
        radii = ordered(np.linspace(3, 10, SLICES), kind) + rng.normal(0, 0.35, SLICES)
        centre = SIDE / 2 - 0.5 + rng.uniform(-3, 3, 2)
        aspect = np.exp(rng.uniform(-0.2, 0.2))
        brightness, contrast = rng.uniform(-0.3, 0.3), rng.uniform(0.7, 1.3)
        for image, radius in zip(one, radii, strict=True):
            away = np.hypot((rows - centre[0]) * aspect, (columns - centre[1]) / aspect)
            blob = rng.uniform(4, SIDE - 4, 2)
            disc = 1 / (1 + np.exp(away - radius))
            disc += 0.5 * np.exp(-((rows - blob[0]) ** 2 + (columns - blob[1]) ** 2) / 8)
            image[:] = brightness + contrast * disc + rng.normal(0, 0.12, disc.shape)
    return Discs(torch.from_numpy(volumes), torch.from_numpy(label))


def ordered(radii: np.ndarray, kind: int) -> np.ndarray:
    """Ascending radii as rising, falling, bulge or waist."""
    bulge = np.concatenate([radii[::2], radii[1::2][::-1]])
    waist = np.concatenate([radii[::2][::-1], radii[1::2]])
    return (radii, radii[::-1], bulge, waist)[kind]


def batch_of(discs: Discs, index: Tensor) -> MixedBatch:
    """Those volumes, no images."""
    count = len(index)
    shape = (count, SLICES)
    volumes = Volumes(
        discs.volume[index],
        torch.ones(shape, dtype=torch.bool),
        torch.ones(count),
        torch.ones(shape),
        index,
        index[:, None] * SLICES + torch.arange(SLICES),
        torch.zeros(count, dtype=torch.int64),
    )
    nothing = torch.zeros(0, dtype=torch.int64)
    images = Images(torch.zeros(0, SIDE, SIDE), nothing, nothing)
    return MixedBatch(images, volumes, tuple(f"disc{n}" for n in index.tolist()))


def pretrain(
    discs: Discs, settings: dict[str, object], steps: int, size: int, seed: int
) -> Joint2d3d:
    """`steps` steps of AdamW, `size` volumes each."""
    count = len(discs.label)
    task = MixedTask(NETWORK, ("discs",), 0, count * SLICES, count)
    method = Joint2d3d(Settings(**{**SETTINGS, **settings}), task, seed).train()
    optimiser = torch.optim.AdamW(method.parameters(), 1e-3, weight_decay=1e-4)
    for step in range(1, steps + 1):
        generator = torch.Generator().manual_seed(10_000 * seed + step)
        index = torch.randperm(count, generator=generator)[:size]
        progress = Progress(step, steps)
        terms = method({"joint": batch_of(discs, index)}, progress, generator)
        optimiser.zero_grad()
        sum(terms.values()).backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 2.0)
        optimiser.step()
        method.after_step(progress)
    return method


@torch.no_grad()
def vectors(encoder: MixedEncoder, volume: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [n, E] of volumes, and the means [n, E] of their slices' embeddings."""
    encoder.eval()
    found, means = [], []
    for part in volume.split(64):
        valid = torch.ones(part.shape[:2], dtype=torch.bool)
        found.append(encoder.represent(part, valid, torch.ones(len(part))))
        embedded = encoder.embed_slices(part.flatten(0, 1).unsqueeze(1))
        means.append(embedded.view(len(part), SLICES, -1).mean(1))
    return torch.cat(found), torch.cat(means)


def neighbours(known: Tensor, label: Tensor, asked: Tensor, truth: Tensor, k: int = 5) -> float:
    """Accuracy of the k nearest by cosine."""
    nearest = (normalize(asked, dim=1) @ normalize(known, dim=1).T).topk(k, dim=1).indices
    return float((label[nearest].mode(1).values == truth).float().mean())


def score(encoder: MixedEncoder, few: Discs, test: Discs) -> dict[str, float]:
    """5-NN accuracy on the vector and on the mean over slices, and cosine to the reverse."""
    (known, mean), (asked, asked_mean) = vectors(encoder, few.volume), vectors(encoder, test.volume)
    reverse, _ = vectors(encoder, test.volume.flip(1))
    return {
        "knn": neighbours(known, few.label, asked, test.label),
        "mean_knn": neighbours(mean, few.label, asked_mean, test.label),
        "reverse": float((asked * reverse).sum(1).mean()),
    }


TWO_D = {"weights": {"mask": 0.0, "inter": 0.0}, "warm_up": 0.0}
JOINT = {"warm_up": 250 / 950, "mask_only": 200 / 950}


def main() -> None:
    torch.set_num_threads(1)
    few, test = draw_discs(40, 1001), draw_discs(400, 1002)
    for seed in map(int, sys.argv[1:]):
        discs = draw_discs(512, 100 + seed)
        for name, settings, steps in (("2d", TWO_D, 250), ("joint", JOINT, 950)):
            found = score(pretrain(discs, settings, steps, 32, seed).encoder(), few, test)
            told = ", ".join(f"{key} {value:.3f}" for key, value in found.items())
            print(f"seed {seed}, {name}: {told}", flush=True)


if __name__ == "__main__":
    main()
