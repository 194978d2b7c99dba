"""A pre-trained encoder of volumes on disk: all that a network needs to start from it.

Written by `medssl.train.checkpoint.save_checkpoint`; the weights have the encoder's own names.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from medssl.errors import UsageError
from medssl.networks.monai_settings import AnyNetwork
from medssl.section import MOST
from medssl.train.checkpoint import (
    DataCard,
    EncoderCard,
    Treatment,
    read_weights,
    understood,
)
from medssl.train.description import description_of, weights_hash
from medssl.train.import_card import ImportCard

Voxels = Annotated[int, Field(ge=0, le=MOST)]


class PretrainedCheckpoint(BaseModel):
    """What every network that was pre-trained on volumes says of itself.

    Attributes:
        preprocess: what was done to what it saw.
        patch: window in voxels.
        data: every data set that it learned from.
        step: update after which the weights were taken.
        seen: `medssl.data.split.patient_key` of every patient in pre-training, sorted.
        key: name of the key that `seen` was made with; empty of earlier ones.
        imported: where they are from, if from another project; then `patch` is 0 where the sides
            are not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    family: Literal["pretrain"] = "pretrain"
    preprocess: Treatment
    patch: tuple[Voxels, Voxels, Voxels]
    method: dict[str, Any]
    paper: str
    data: tuple[DataCard, ...]
    code: str
    step: int
    metrics: dict[str, float]
    seen: tuple[str, ...]
    key: str = ""
    imported: ImportCard | None = None


class VolumeEncoderCheckpoint(PretrainedCheckpoint):
    """The description beside the weights of an encoder.

    Attributes:
        encodes: "volumes"; tells it from an encoder of tiles, which is of the same family.
        network: settings of the network whose encoder it is.
        channels: input channels.
        contrasts: names of the contrasts that it learned from.
    """

    encodes: Literal["volumes"] = "volumes"
    network: AnyNetwork
    channels: int = 1
    contrasts: tuple[str, ...]


def read_encoder(folder: Path) -> VolumeEncoderCheckpoint:
    """The description of a pre-trained encoder alone.

    Raises:
        UsageError: the folder is no checkpoint, or one of something else.
        DataError: its description cannot be understood.
    """
    _must_encode_volumes(folder, description_of(folder))
    return understood(folder, VolumeEncoderCheckpoint)


def load_encoder_weights(folder: Path) -> tuple[dict[str, Tensor], VolumeEncoderCheckpoint]:
    """The weights by the encoder's own names, on the CPU, and their description.

    Raises:
        UsageError, DataError: as `read_encoder`; also when the weights cannot be read.
    """
    found = read_encoder(folder)
    return read_weights(folder), found


def encoder_card(folder: Path, found: Any) -> EncoderCard:
    """What a network that starts from the encoder remembers of it."""
    return EncoderCard(
        weights=weights_hash(folder),
        method=found.method,
        paper=found.paper,
        step=found.step,
        data=found.data if isinstance(found.data, tuple) else (found.data,),
    )


def _must_encode_volumes(folder: Path, plain: dict[str, Any]) -> None:
    family = plain.get("family", "segment")
    if family == "pretrain" and plain.get("encodes") == "volumes":
        return
    if plain.get("encodes") == "places":
        family = "places"
    what = {
        "places": "an anatomical embedding, which has no encoder of a segmentation network",
        "segment": "a trained segmentation network",
        "slide": "a trained slide classifier",
        "pretrain": "an encoder of tiles of slides",
    }.get(str(family), f"a checkpoint of the family '{family}'")
    raise UsageError(
        f"{folder} is {what}",
        "an encoder of volumes is wanted",
        "name the folder that `medssl pretrain` printed",
    )
