"""The contract of learning algorithms that pre-train an encoder.

Legend: B items, C channels, X Y Z voxels, K prototypes, E features.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from medssl.data.batch import Stream
from medssl.data.mixed.batch import MixedBatch
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.settings import AffineSettings, PairSettings
from medssl.methods.method import AnyBatch, Method
from medssl.networks.choice import NetworkChoice
from medssl.networks.mixed_encoder import MixedEncoder
from medssl.networks.transfer import PretrainedEncoder


@dataclass(frozen=True)
class PretrainTask:
    """What an encoder of volumes is pre-trained for.

    Attributes:
        network: its encoder is trained; the decoder of the same settings is not needed.
        patch: window in voxels.
        contrasts: names of the known contrasts, in the order of `ScanBatch.contrast`.
        patients: how many there are; a queue of negatives needs more than one.
        start: weights that the encoder starts from; None: from the seed.
        anatomy: width of the vectors in `ScanBatch.anatomy`; 0 where no batch has any.
    """

    network: NetworkChoice
    patch: tuple[int, int, int]
    contrasts: tuple[str, ...]
    patients: int
    start: PretrainedEncoder | None = None
    anatomy: int = 0


class Reconstruction(NamedTuple):
    """Masked scans and what was filled in.

    Attributes:
        prediction: [B, 1, X, Y, Z].
        mask: [B, 1, X, Y, Z] bool, true where the encoder saw nothing.
    """

    prediction: Tensor
    mask: Tensor


class EncoderMethod(Method[AnyBatch]):
    """Learns an encoder for others to start from."""

    @abstractmethod
    def encoder(self) -> nn.Module:
        """What pre-training hands on."""

    def decoder_too(self) -> nn.Module | None:
        """A decoder trained with the encoder that networks of the same kind start from; or none."""
        return None

    def described(
        self, network: NetworkChoice, contrasts: tuple[str, ...], told: dict[str, Any]
    ) -> BaseModel:
        """What a checkpoint of `encoder()` says of itself.

        Args:
            network: of the pipeline.
            contrasts: names of the known contrasts.
            told: what every pre-trained network says, see `PretrainedCheckpoint`.
        """
        from medssl.train.encoder_checkpoint import VolumeEncoderCheckpoint

        return VolumeEncoderCheckpoint(network=network, contrasts=contrasts, **told)


class PretrainMethod(EncoderMethod[ScanBatch]):
    """Learns an encoder from single-channel scans without labels.

    Built as `(settings, task: PretrainTask, seed)`. `streams` are those that its settings ask for:
    "pairs" (two scans of a session), "scans" (single ones). Its predictor maps scans
    [B, 1, X, Y, Z] to features [B, E], by which probes compare scans.
    """

    @abstractmethod
    def encoder(self) -> nn.Module:
        """What pre-training hands on: the encoder of `build_encoder(task.network, 1, seed)`."""

    def pairs(self) -> PairSettings | None:
        """How the stream "pairs" is drawn; None where the method has no such stream."""
        return None

    @abstractmethod
    def affine(self) -> AffineSettings:
        """The affine that every scan draws for itself."""

    def parts_of(self, image: Tensor) -> dict[str, Tensor]:
        """Further features [B, E] of scans by name, for probes: of projectors, of halves."""
        return {}

    def reconstruct(self, image: Tensor, generator: torch.Generator) -> Reconstruction | None:
        """Masked scans [B, 1, X, Y, Z] as filled in; None where the method does not learn that."""
        return None


@dataclass(frozen=True)
class MixedTask:
    """What an encoder of images and volumes together is pre-trained from.

    Attributes:
        network: of name slice_unet; its encoder is trained.
        sources: names of the data sets, in the order of the batches' `source`.
        images: how many native images and loose slices there are.
        numbered: how many images and slices of volumes, which share one numbering.
        volumes: how many volumes.
        start: weights that the encoder starts from; None: from the seed.
    """

    network: NetworkChoice
    sources: tuple[str, ...]
    images: int
    numbered: int
    volumes: int
    start: PretrainedEncoder | None = None


class MixedScores(NamedTuple):
    """How near prototypes are to what they stand for, as cosines.

    Attributes:
        images: [B2, K] of images.
        volumes: [B3, K] of volumes.
    """

    images: Tensor
    volumes: Tensor


class MixedMethod(EncoderMethod[MixedBatch]):
    """Learns an encoder from images and volumes together, without labels, in batches "joint".

    Built as `(settings, task: MixedTask, seed)`. Its predictor is its encoder.
    """

    streams: tuple[Stream, ...] = ("joint",)

    @abstractmethod
    def encoder(self) -> MixedEncoder:
        """What pre-training hands on: the encoder of `build_encoder(task.network, 1, seed)`."""

    @abstractmethod
    def scores(self, batch: MixedBatch) -> MixedScores:
        """Cosines of a batch with the prototypes, without augmentation."""
