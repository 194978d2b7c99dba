"""A pre-trained encoder of tiles on disk: what it says of itself.

Written by `medssl.train.checkpoint.save_checkpoint`.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from medssl.data.slide.settings import TileSettings
from medssl.errors import UsageError
from medssl.networks.monai_tile_settings import AnyTileEncoder
from medssl.networks.tile_settings import AnyEncoder
from medssl.train.checkpoint import DataCard, understood
from medssl.train.description import description_of
from medssl.train.encoder_checkpoint import VolumeEncoderCheckpoint, read_encoder
from medssl.train.import_card import ImportCard
from medssl.transforms.tile_chain import AS_SCANNED, TilePreprocess


class TileEncoderCheckpoint(BaseModel):
    """The description beside the weights of a pre-trained encoder of tiles.

    Attributes:
        imported: where the weights are from, if from another project.
        seen: `medssl.data.split.patient_key` of every patient in pre-training, sorted.
        key: name of the key that `seen` was made with; empty of earlier ones.
        packages: those beside medssl that the encoder is of, with their versions in training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    family: Literal["pretrain"] = "pretrain"
    tiles: TileSettings
    preprocess: TilePreprocess = AS_SCANNED
    encoder: AnyTileEncoder
    method: dict[str, Any]
    paper: str
    data: DataCard
    code: str
    step: int
    metrics: dict[str, float] = {}
    seen: tuple[str, ...] = ()
    key: str = ""
    imported: ImportCard | None = None
    packages: dict[str, str] = {}

    @property
    def network(self) -> AnyEncoder:
        """The encoder, by the name of the section of pipelines that grade or segment images."""
        return self.encoder


def read_tile_encoder(folder: Path) -> TileEncoderCheckpoint:
    """The description of the checkpoint of an encoder of tiles, without its weights.

    Raises:
        UsageError: the folder is no checkpoint, or one of something else.
        DataError: its description cannot be understood.
    """
    plain = description_of(folder)
    if plain.get("family") != "pretrain" or "tiles" not in plain:
        raise UsageError(
            f"{folder} is no encoder of tiles",
            "",
            "name the folder that `medssl pretrain slides_dino` printed",
        )
    return understood(folder, TileEncoderCheckpoint)


def read_image_encoder(folder: Path) -> TileEncoderCheckpoint | VolumeEncoderCheckpoint:
    """The description of an encoder of images, or of images and volumes together.

    Raises:
        UsageError: the folder is no checkpoint, or one of something else.
        DataError: its description cannot be understood.
    """
    plain = description_of(folder)
    if plain.get("family") == "pretrain" and "tiles" in plain:
        return read_tile_encoder(folder)
    return read_encoder(folder)
