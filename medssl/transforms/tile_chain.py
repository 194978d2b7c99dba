"""What is done to the tiles of slides before an encoder sees them, as a chain; free of torch."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from medssl.data.slide.settings import TileSettings
from medssl.transforms.chain import Preprocess
from medssl.transforms.words import PlainStep, Word

if TYPE_CHECKING:
    import numpy as np

Prepare = Callable[["np.ndarray", str], "np.ndarray"]
"""Makes of a tile, uint8 [S, S, 3], and the name of its slide what an encoder is given."""


class SlideWord(Word):
    """Tiles as they are scanned, or with stains made alike.

    An encoder resizes tiles itself, and scales their values as its weights were trained
    (`encoder.side`, `encoder.normalise`).
    """

    stain: Literal["none", "macenko"] = Field(
        default="none",
        description="macenko: haematoxylin and eosin of every tile as in a reference, by MONAI",
    )

    def steps(self) -> list[PlainStep]:
        """Nothing, or the stains."""
        return [] if self.stain == "none" else [("medssl:NormalizeStaind", {})]


class TilePreprocess(Preprocess):
    """What is done to a tile once, from the slide's pixels to the bytes for an encoder."""

    WORDS: ClassVar[Mapping[str, type[Word]]] = {"slide": SlideWord}
    MASKS = False

    def key(self, tiles: str) -> str:
        """The key of tiles that are cut as `tiles` says, and then go through the chain.

        Tiles that nothing is done to have the key of their cut.
        """
        if not self.steps:
            return tiles
        known: list[Any] = [tiles, self.fingerprint()]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]

    def preparation(self, mpp: float) -> Prepare:
        """What carries the chain out, for tiles of so many microns per pixel.

        Raises:
            UsageError: a transform refuses its arguments.
        """
        if not self.steps:
            return lambda tile, _: tile
        from medssl.transforms.tiles import TilePreparation  # imports MONAI

        return TilePreparation(self, mpp)


PREPROCESS_TILES = "what is done to a tile before it is encoded, see `medssl keys preprocess`"
"""What the key `preprocess` of pipelines of slides is."""

AS_SCANNED = TilePreprocess.of("slide")
"""Nothing is done to a tile."""


def check_tiles(chain: TilePreprocess, tiles: TileSettings) -> None:
    """Try a chain on a tile that is cut as `tiles` says, and ask whether it can be kept.

    Raises:
        UsageError: a transform refuses its arguments, fails, makes no tile, or has no version.
    """
    if chain.steps:
        from medssl.transforms.tiles import must_keep_tiles  # imports MONAI

        chain.fingerprint()
        must_keep_tiles(chain, tiles.size, tiles.mpp)
