"""The pre-trained encoder that a training starts from, as its pipeline asks for it."""

from dataclasses import dataclass

from medssl.families.segment.config import SegmentConfig
from medssl.networks.build import build_encoder
from medssl.networks.transfer import PretrainedEncoder, transfer
from medssl.train.checkpoint import EncoderCard, read_weights
from medssl.train.encoder_checkpoint import VolumeEncoderCheckpoint, encoder_card
from medssl.train.loop import Reporter
from medssl.train.tile_checkpoint import TileEncoderCheckpoint, read_image_encoder


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
    found = read_image_encoder(choice.folder)
    config.must_fit(found.network, f"the encoder in {choice.folder}")
    weights = read_weights(choice.folder)
    of_images = isinstance(found, TileEncoderCheckpoint)
    if of_images:
        weights = {f"images.{name}": value for name, value in weights.items()}
    given = PretrainedEncoder(weights, choice.matched, choice.channels)
    report = transfer(build_encoder(network, len(config.spec.channels), 0), given)
    reporter.note(f"encoder of {found.method.get('name')} from {choice.folder}: {report}")
    if not _known(found):
        reporter.note("how the images were prepared that the encoder learnt from is not known")
    elif not of_images and (unlike := config.pipeline.preprocess.unlike(found.preprocess)):
        reporter.note(
            f"warning: the encoder was pre-trained on images that look otherwise: {unlike}"
        )
    return LoadedEncoder(given, encoder_card(choice.folder, found))


def _known(found: TileEncoderCheckpoint | VolumeEncoderCheckpoint) -> bool:
    """Whether an encoder says how its images were prepared."""
    return found.imported is None or found.imported.images_known
