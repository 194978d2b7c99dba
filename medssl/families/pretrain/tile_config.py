"""What one pre-training on tiles of slides does."""

from typing import Any, ClassVar

from medssl.families.pretrain.config import WITHOUT_EFFECT
from medssl.families.pretrain.tile_settings import TilePretrainPipeline
from medssl.networks.tile_settings import encoder_hash
from medssl.pipeline.config import Config


class TileConfig(Config[TilePretrainPipeline]):
    """What one pre-training on tiles does, complete and checked."""

    file = TilePretrainPipeline
    about = "pre-train an encoder of tiles"
    kind = "tiles"
    reads: ClassVar[frozenset[str]] = frozenset({"slides"})
    without_effect: ClassVar = WITHOUT_EFFECT

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "dino on slides, seed 0"."""
        pipeline = self.pipeline
        return f"{pipeline.method.name} on {pipeline.data}, seed {pipeline.seed}"

    def declared(self) -> Any:
        """Nothing beyond the slides themselves."""
        return []

    def shaping(self) -> list[Any]:
        """All that shapes the encoder but the slides, as plain values."""
        named = ("data", "seed", "tiles", "encoder", "method", "train")
        sections = {name: self.section(name) for name in named} | {"data": self.pipeline.data}
        return [sections, encoder_hash(self.pipeline.encoder, self.pipeline.seed)]
