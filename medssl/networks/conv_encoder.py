"""A small convolutional encoder for a CPU: convolution, GroupNorm, ReLU.

Source: sheet of modality-invariant learning, section 10.4, with a second convolution below the
finest level, so that what a masked cube hides lies within reach of what is seen.

Legend: B items, C channels, X Y Z voxels.
"""

from torch import Tensor, nn

from medssl.networks.encoder import DoublingEncoder
from medssl.networks.norm import group_norm


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    # A bias would be taken off again by the norm.
    conv = nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False)
    return [conv, group_norm(outputs), nn.ReLU(inplace=True)]


class ConvEncoder(DoublingEncoder):
    """Levels of width * 2^l channels; a strided convolution leads from each to the next.

    Sides must be divisible by 2^(levels - 1).
    """

    def __init__(self, channels: int, width: int, levels: int) -> None:
        super().__init__(channels, width, levels)
        self.blocks = nn.ModuleList([nn.Sequential(*_convolution(channels, width))])
        for size in self.widths[1:]:
            down, same = _convolution(size // 2, size, stride=2), _convolution(size, size)
            self.blocks.append(nn.Sequential(*down, *same))

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features [B, width * 2^l, X / 2^l, Y / 2^l, Z / 2^l] for each level l."""
        features = [self.blocks[0](embedded)]
        for block in self.blocks[1:]:
            features.append(block(features[-1]))
        return features

    def layers(self) -> list[nn.ModuleList]:
        """One block a level."""
        return [nn.ModuleList([block]) for block in self.blocks]
