"""A pre-trained encoder's weights into the encoder of another network, and its decoder's likewise.

Legend: C input channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import interpolate

from medssl.errors import UsageError
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.load_report import LoadReport, must_be_numbers
from medssl.networks.skip_decoder import SkipDecoder


@dataclass(frozen=True)
class PretrainedEncoder:
    """Weights to start from, and how they may be taken.

    Attributes:
        weights: by the encoder's own names.
        matched: share of the encoder's parameters that must fit.
        channels: what to do where the weights read another number of channels. "repeat": the
            stem's kernel is repeated C times and divided by C, so that an image of C equal
            channels gives what one of them gave; "same": refuse them.
        decoder: weights of the decoder that was trained with it, by its own names; None: of none.
        sides: of the images that its learnt places are for, in voxels; None: it has none.
    """

    weights: Mapping[str, Tensor]
    matched: float = 1.0
    channels: Literal["repeat", "same"] = "repeat"
    decoder: Mapping[str, Tensor] | None = None
    sides: tuple[int, ...] | None = None


def transfer(encoder: VolumeEncoder, given: PretrainedEncoder) -> LoadReport:
    """Copy what fits by name and shape; all of it happens or nothing.

    Learnt places of images of another size are resized linearly, as nnssl does (sheet of nnssl,
    section 3); the report says so.

    Raises:
        UsageError: the number of input channels differs and may not be changed.
        DataError: less than `given.matched` of the encoder's parameters would be loaded, or not all
            of a part that is (see `LoadReport`): training would otherwise start from other
            features than were learnt, unnoticed.
    """
    own = {name: value.detach() for name, value in encoder.state_dict().items()}
    found = dict(given.weights)
    for stem in found.keys() & set(encoder.stems):
        found[stem] = _fit_channels(found[stem], own[stem], given.channels)
    resized = _fit_places(found, encoder, given.sides)
    counted = {name for name, _ in encoder.named_parameters()}
    report = LoadReport.of(own, found, counted, resized)
    report.refuse_less(given.matched, "the pre-trained weights", "pretrain.matched")
    must_be_numbers(own, found, report.matched, "the pre-trained weights")
    encoder.load_state_dict({name: found[name] for name in report.matched}, strict=False)
    return report


def transfer_decoder(network: nn.Module, given: PretrainedEncoder) -> LoadReport | None:
    """Copy the decoder, but for its last convolution, where the network's is of its kind and size.

    Returns:
        What fits; its share is 1 if it was copied, and otherwise nothing was. None: there is none,
        or the network's is of another kind, or nothing but that convolution.

    Raises:
        DataError: a value is none that training leaves.
    """
    decoder = getattr(network, "decoder", None)
    if given.decoder is None or not isinstance(decoder, SkipDecoder):
        return None
    own = {name: value.detach() for name, value in decoder.state_dict().items()}
    kept = {name: value for name, value in own.items() if not name.startswith(SkipDecoder.HEAD)}
    if not kept:
        return None
    report = LoadReport.of(kept, given.decoder, kept.keys())
    if report.share == 1:
        must_be_numbers(own, given.decoder, report.matched, "the pre-trained decoder")
        found = {name: given.decoder[name] for name in report.matched}
        decoder.load_state_dict(found, strict=False)
    return report


def _fit_places(
    found: dict[str, Tensor], encoder: VolumeEncoder, sides: tuple[int, ...] | None
) -> tuple[str, ...]:
    """Resize the table of places in `found` to the encoder's grid; what was done, in words."""
    if encoder.positions is None or sides is None:
        return ()
    name, grid = encoder.positions
    learnt = tuple(side // encoder.embed_stride for side in sides)
    if learnt == grid or name not in found or found[name].shape[1] != prod(learnt):
        return ()
    cells = found[name].transpose(1, 2)
    table = cells.reshape(*cells.shape[:2], *learnt)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(grid)]
    found[name] = interpolate(table, size=grid, mode=mode).flatten(2).transpose(1, 2)
    before, after = ("x".join(map(str, one)) for one in (learnt, grid))
    return (f"places of {before} cells resized to {after}",)


def _fit_channels(found: Tensor, own: Tensor, channels: str) -> Tensor:
    """The stem's kernel for as many channels as the encoder reads."""
    wanted, had = own.shape[1], found.shape[1]
    if wanted == had:
        return found
    if channels == "same" or had != 1:
        raise UsageError(
            f"the encoder was pre-trained on {had} channel{'s' * (had > 1)} and the images have "
            f"{wanted}",
            "only a kernel of one channel can be repeated"
            if channels == "repeat"
            else "pretrain.channels=same allows no change",
            "set pretrain.channels=repeat" if had == 1 else "use images of as many channels",
        )
    return found.repeat_interleave(wanted, dim=1) / wanted
