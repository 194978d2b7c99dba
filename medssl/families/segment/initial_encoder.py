"""The pre-trained encoder that a segmentation network starts from: checked, read, made ready."""

from dataclasses import dataclass

from medssl.errors import UsageError
from medssl.families.segment.config import SegmentConfig
from medssl.networks.build import build_encoder
from medssl.networks.settings import NetworkSettings
from medssl.networks.transfer import PretrainedEncoder, transfer
from medssl.train.checkpoint import EncoderCard
from medssl.train.encoder_checkpoint import (
    VolumeEncoderCheckpoint,
    encoder_card,
    load_encoder_weights,
)
from medssl.train.loop import Reporter


@dataclass(frozen=True)
class LoadedEncoder:
    """What every network of a training starts from.

    Attributes:
        encoder: weights, and how they are taken.
        card: what the trained checkpoint remembers of them.
    """

    encoder: PretrainedEncoder
    card: EncoderCard


def load_start(config: SegmentConfig, reporter: Reporter) -> LoadedEncoder | None:
    """The encoder of a pipeline, tried on its network once; None where it asks for none.

    Tells the reporter what fits, and where images look otherwise than in pre-training.

    Raises:
        UsageError, DataError: it cannot be read, or too little of it fits.
    """
    choice, network = config.pipeline.pretrain, config.pipeline.network
    if choice is None:
        return None
    weights, found = load_encoder_weights(choice.folder)
    must_fit(config, found.network, f"the encoder in {choice.folder}")
    given = PretrainedEncoder(weights, choice.matched, choice.channels)
    report = transfer(build_encoder(network, len(config.spec.channels), 0), given)
    reporter.note(f"encoder of {found.method.get('name')} from {choice.folder}: {report}")
    if unlike := config.pipeline.preprocess.unlike(found.preprocess):
        reporter.note(f"warning: the encoder was pre-trained on images that look otherwise: {unlike}")
    return LoadedEncoder(given, encoder_card(choice.folder, found))


def must_fit(config: SegmentConfig, trained: NetworkSettings, what: str) -> None:
    """Refuse an encoder of another network.

    Raises:
        UsageError: names the keys to set.
    """
    network = config.pipeline.network
    own, other = network.encoder(), trained.encoder()
    if own is None:
        raise UsageError(
            f"network.name={network.name} has no encoder that pretrain could fill",
            do=f"set network.name={trained.name}, as in pre-training",
        )
    if own == other or other is None:
        return
    differing = [key for key, value in other.items() if own.get(key) != value]
    here = ", ".join(f"{key} {own[key]}" for key in differing if key in own)
    there = ", ".join(f"{key} {other[key]}" for key in differing)
    keys = " ".join(f"network.{key}={other[key]}".replace(" ", "") for key in differing)
    raise UsageError(
        f"{what} does not fit the pipeline's network",
        f"it has {there}; the pipeline has {here}",
        f"set {keys}",
    )
