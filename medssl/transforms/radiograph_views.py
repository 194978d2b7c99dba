"""A chain of random changes at work on a batch of crops, on the device, by a generator handed in.

Legend: N crops, V crops of an image, S pixels of a side.
"""

from functools import lru_cache

import torch
from monai.transforms import MapTransform, Randomizable
from torch import Generator, Tensor

from medssl.data.draws import host
from medssl.errors import UsageError
from medssl.transforms.compose import build
from medssl.transforms.radiograph_chain import RadiographAugment
from medssl.transforms.random_radiograph import LARGEST_SEED, RandomCropChange
from medssl.transforms.step import IMAGE, failure_told


class CropChanges:
    """The steps of a chain; ours change a whole batch at once, those of MONAI crop by crop.

    Raises:
        UsageError: a transform refuses its arguments.
    """

    def __init__(self, chain: RadiographAugment) -> None:
        self._steps = [(step.name, build(step)) for step in chain.steps]

    def __call__(self, crops: Tensor, generator: Generator) -> Tensor:
        """Crops [N, 1, S, S] float32 in [0, 1], each changed by itself; as many of the same size.

        Raises:
            UsageError: a transform fails, changes the size or makes values that are not finite.
        """
        for name, made in self._steps:
            if isinstance(made, RandomCropChange):
                crops = made.changed(crops, generator)
            else:
                crops = _one_by_one(name, made, crops, generator)
        return crops


def _one_by_one(name: str, made: MapTransform, crops: Tensor, generator: Generator) -> Tensor:
    """Crops changed by a transform of MONAI, whose random state comes from the generator."""
    seeds = torch.randint(LARGEST_SEED, (len(crops),), generator=host(generator))
    changed = []
    for crop, seed in zip(crops, seeds.tolist(), strict=True):
        if isinstance(made, Randomizable):
            made.set_random_state(seed)
        with failure_told(name):
            changed.append(torch.as_tensor(made({IMAGE: crop})[IMAGE]).as_subclass(Tensor))
        if changed[-1].shape != crop.shape:
            raise UsageError(
                f"the transform {name} changes the size of crops",
                f"{'x'.join(map(str, crop.shape))} becomes {'x'.join(map(str, changed[-1].shape))}",
                "leave it out, or write it under preprocess",
            )
    stacked = torch.stack(changed).to(crops)
    if not bool(torch.isfinite(stacked).all()):
        raise UsageError(
            f"the transform {name} makes values that are not finite",
            "NaN or infinity cannot be learnt from",
            "correct its arguments, or leave it out",
        )
    return stacked


@lru_cache(maxsize=16)
def changes_of(chain: RadiographAugment) -> CropChanges:
    """The steps of a chain, made once.

    Raises:
        UsageError: a transform refuses its arguments.
    """
    return CropChanges(chain)


def must_keep_crops(chain: RadiographAugment, side: int) -> None:
    """Try a chain on two crops of S = `side` pixels.

    Raises:
        UsageError: a transform refuses its arguments, fails or changes the size of crops.
    """
    generator = Generator().manual_seed(0)
    changes_of(chain)(torch.rand(2, 1, side, side, generator=generator), generator)
