"""The pre-trained encoder that a training starts from, as its pipeline asks for it."""

from dataclasses import dataclass

from medssl.families.segment.config import SegmentConfig
from medssl.networks.build import build_encoder, build_network
from medssl.networks.choice import SKIP
from medssl.networks.encoder_fit import learnt_sides
from medssl.networks.transfer import PretrainedEncoder, transfer, transfer_decoder
from medssl.train.checkpoint import EncoderCard, read_decoder, read_weights
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
    decoder = read_decoder(choice.folder) if choice.decoder and network.decoder == SKIP else None
    sides = learnt_sides(found.network) if isinstance(found, VolumeEncoderCheckpoint) else None
    given = PretrainedEncoder(weights, choice.matched, choice.channels, decoder, sides)
    report = transfer(build_encoder(network, len(config.spec.channels), 0), given)
    reporter.note(f"encoder of {found.method.get('name')} from {choice.folder}: {report}")
    if network.decoder == SKIP:
        reporter.note(_of_decoder(config, given))
    if not _known(found):
        reporter.note("how the images were prepared that the encoder learnt from is not known")
    elif not of_images and (unlike := config.pipeline.preprocess.unlike(found.preprocess)):
        reporter.note(
            f"warning: the encoder was pre-trained on images that look otherwise: {unlike}"
        )
    return LoadedEncoder(given, encoder_card(choice.folder, found))


def _of_decoder(config: SegmentConfig, given: PretrainedEncoder) -> str:
    """Whether the network's decoder starts from a pre-trained one, in words."""
    choice, network = config.pipeline.pretrain, config.pipeline.network
    if choice is not None and not choice.decoder:
        return "its decoder: left out, as pretrain.decoder=false"
    report = transfer_decoder(build_network(network, len(config.spec.channels), 1, 0), given)
    if report is None:
        return "its decoder: none of network.decoder=skip was handed on, so that the seed decides"
    if report.share < 1:
        return f"its decoder: left out, as it does not agree with the network's: {report}"
    return f"its decoder: {report}"


def _known(found: TileEncoderCheckpoint | VolumeEncoderCheckpoint) -> bool:
    """Whether an encoder says how its images were prepared."""
    return found.imported is None or found.imported.images_known
