"""Encoders that are published and not imported, by a name of theirs, and why."""

from collections.abc import Mapping

from torch import Tensor

from medssl.errors import DataError
from medssl.networks.foreign.recognised import without
from medssl.networks.weights_file import WeightsFile

LEFT_OUT = {
    "conv_blocks_context.0.0.conv1.weight": (
        "STU-Net",
        "no package that can be installed has its class, so that features could not be held "
        "against the original's",
    ),
    "down_tr64.ops.0.conv1.weight": (
        "the U-Net of SuPreM and of Models Genesis",
        "its norms take the statistics of each batch after training too, so that the features of "
        "an image depend on the others beside it",
    ),
}


def must_not_be_left_out(file: WeightsFile) -> None:
    """Refuse a file of one of them.

    Raises:
        DataError: it is; says why it is not imported.
    """
    names: Mapping[str, Tensor] = without(file.tensors, "module.", "backbone.")
    for mark, (title, why) in LEFT_OUT.items():
        if mark in names:
            raise DataError(
                f"{file.path} is of {title}, which is not imported",
                why,
                "start from another encoder; SuPreM also publishes a SwinUNETR, and nnU-Net's "
                "U-Nets are imported",
            )
