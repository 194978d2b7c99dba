"""A trained anatomical embedder on disk: all that matching by it needs.

Written by `medssl.train.checkpoint.save_checkpoint`.
"""

from pathlib import Path
from typing import Literal

from medssl.errors import UsageError
from medssl.networks.anatomical_embedding import AnatomicalEmbedder, build_embedder
from medssl.networks.embedder_settings import EmbedderSettings
from medssl.train.checkpoint import load_weights, understood
from medssl.train.description import description_of
from medssl.train.encoder_checkpoint import PretrainedCheckpoint


class EmbedderCheckpoint(PretrainedCheckpoint):
    """The description beside the weights.

    Attributes:
        encodes: "places"; tells it from the encoders, which are of the same family.
    """

    encodes: Literal["places"] = "places"
    embedder: EmbedderSettings


def read_embedder(folder: Path) -> EmbedderCheckpoint:
    """The description of the checkpoint of an anatomical embedding, without its weights.

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
    return understood(folder, EmbedderCheckpoint)


def load_embedder(folder: Path) -> tuple[AnatomicalEmbedder, EmbedderCheckpoint]:
    """The network, in evaluation mode on the CPU, and its description.

    Raises:
        UsageError, DataError: as `read_embedder`; also when the weights do not fit.
    """
    found = read_embedder(folder)
    embedder = build_embedder(found.embedder, seed=0)
    load_weights(folder, embedder)
    return embedder.eval(), found
