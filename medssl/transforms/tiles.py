"""The chain of tiles at work: watched, and from bytes to bytes.

Legend: S pixels of a tile's side.
"""

from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from medssl.errors import UsageError
from medssl.transforms.chain import Chain
from medssl.transforms.crops import WatchedPicture, as_bytes, shape_of
from medssl.transforms.radiograph_reader import UNIT
from medssl.transforms.step import IMAGE

SCALED = "encoders scale tiles themselves (encoder.normalise); keep their range under preprocess"


class TilePreparation:
    """The chain of tiles without what draws; the same in pre-training, training and prediction.

    Args:
        mpp: microns per pixel of a tile, which MONAI's transforms find in its affine.

    Raises:
        UsageError: a transform refuses its arguments.
    """

    def __init__(self, chain: Chain, mpp: float) -> None:
        self._steps = [WatchedPicture(step) for step in chain.certain.steps]
        self._affine = torch.diag(torch.tensor([mpp, mpp, 1, 1], dtype=torch.float64))

    def __call__(self, tile: np.ndarray, source: str) -> np.ndarray:
        """The tile, uint8 [S, S, 3] RGB.

        Raises:
            UsageError: a transform fails, or makes no RGB bytes of the same size.
        """
        meta = {"filename_or_obj": source, UNIT: "um"}
        channels_first = torch.from_numpy(np.ascontiguousarray(tile.transpose(2, 0, 1)))
        data: dict[Hashable, Any] = {
            IMAGE: MetaTensor(channels_first, affine=self._affine.clone(), meta=meta)
        }
        for step in self._steps:
            before = shape_of(data[IMAGE])
            data = step(data)
            if data[IMAGE].shape != channels_first.shape:
                raise UsageError(
                    f"the transform {step.name} changes the size or the channels of tiles",
                    f"{before} becomes {shape_of(data[IMAGE])}",
                    "leave it out; tiles.size and tiles.mpp set how they are cut",
                )
        made = data[IMAGE].detach().cpu().numpy()
        if made.dtype != np.uint8:
            made = as_bytes(made, f"a tile of {source}", SCALED)
        return np.ascontiguousarray(made.transpose(1, 2, 0))


def must_keep_tiles(chain: Chain, size: int, mpp: float) -> None:
    """Try a chain on a tile of `size` pixels a side.

    Raises:
        UsageError: a transform refuses its arguments, fails, or makes no tile.
    """
    tile = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    TilePreparation(chain, mpp)(tile, "a trial slide")
