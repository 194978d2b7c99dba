"""A trained anatomical embedder on disk: all that matching by it needs.

Written by `medssl.train.checkpoint.save_checkpoint`.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from medssl.errors import DataError, UsageError
from medssl.networks.anatomical_embedding import AnatomicalEmbedder, build_embedder
from medssl.networks.embedder_settings import EmbedderSettings
from medssl.settings import PreprocessSettings
from medssl.train.checkpoint import DataCard
from medssl.train.description import DESCRIPTION, WEIGHTS, description_of


class EmbedderCheckpoint(BaseModel):
    """The description beside the weights.

    Attributes:
        encodes: tells it from the encoders, which are of the same family.
        preprocess: spacing and intensity treatment of what it saw.
        patch: window in voxels.
        data: every data set that it learned from.
        step: update after which the weights were taken.
        seen: `medssl.data.split.patient_key` of every patient in training, sorted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    family: Literal["pretrain"] = "pretrain"
    encodes: Literal["places"] = "places"
    embedder: EmbedderSettings
    preprocess: PreprocessSettings
    patch: tuple[int, int, int]
    method: dict[str, Any]
    paper: str
    data: tuple[DataCard, ...]
    code: str
    step: int
    metrics: dict[str, float]
    seen: tuple[str, ...]


def read_embedder(folder: Path) -> EmbedderCheckpoint:
    """The description alone.

    Raises:
        UsageError: the folder is no checkpoint, or one of something else.
        DataError: its description cannot be understood.
    """
    plain = description_of(folder)
    if plain.get("encodes") != "places":
        raise UsageError(
            f"{folder} is no anatomical embedding",
            do="name the folder that `medssl pretrain PIPELINE method=anatomical_embedding` prints",
        )
    try:
        return EmbedderCheckpoint.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{folder / DESCRIPTION} cannot be understood",
            f"{where}: {first['msg']}" if where else first["msg"],
            "use the version of medssl that wrote it",
        ) from error


def load_embedder(folder: Path) -> tuple[AnatomicalEmbedder, EmbedderCheckpoint]:
    """The network, in evaluation mode on the CPU, and its description.

    Raises:
        UsageError, DataError: as `read_embedder`; also when the weights do not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found = read_embedder(folder)
    embedder = build_embedder(found.embedder, seed=0)
    try:
        embedder.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise DataError(
            f"{folder / WEIGHTS} does not hold the network that {DESCRIPTION} describes",
            "the file is damaged or from another checkpoint",
            "copy the checkpoint folder again, whole",
        ) from error
    return embedder.eval(), found
