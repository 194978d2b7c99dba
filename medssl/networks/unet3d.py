"""The 3-D U-Net that the TraCoCo release uses for BraTS, and the same in 2-D.

Source: sheet of TraCoCo, section 8: two 3x3x3 convolutions per level with InstanceNorm (no affine
parameters) and ReLU, max-pooling, trilinear upsampling, concatenation; element-wise dropout after
the bottleneck and after the last decoder level; Kaiming-normal convolution weights.

Legend: B items, C channels, X Y Z voxels (2-D: without Z), K classes.
"""

from torch import Tensor, cat, nn
from torch.nn.functional import interpolate

from medssl.networks.encoder import DoublingEncoder
from medssl.networks.flat import BATCH_NORM, CONVOLUTION, INSTANCE_NORM, LINEAR, MAX_POOL
from medssl.networks.norm import group_norm


def _norm(kind: str, channels: int, dims: int) -> nn.Module:
    if kind == "group":
        return group_norm(channels)
    return BATCH_NORM[dims](channels) if kind == "batch" else INSTANCE_NORM[dims](channels)


def _block(inputs: int, outputs: int, norm: str, dims: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source in (inputs, outputs):
        conv = CONVOLUTION[dims](source, outputs, 3, padding=1)
        layers += [conv, _norm(norm, outputs, dims), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet3dEncoder(DoublingEncoder):
    """Image [B, C, X, Y, Z] to the features of every level, finest first.

    Sides must be divisible by 2^(levels - 1).
    """

    def __init__(
        self, channels: int, width: int, levels: int, norm: str, dropout: float, dims: int = 3
    ) -> None:
        super().__init__(channels, width, levels)
        widths = self.widths
        self.blocks = nn.ModuleList(
            _block(channels if level == 0 else widths[level - 1], size, norm, dims)
            for level, size in enumerate(widths)
        )
        self.pool = MAX_POOL[dims](2)
        self.dropout = nn.Dropout(dropout)

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features [B, width * 2^l, X / 2^l, Y / 2^l, Z / 2^l] for each level l."""
        features = [self.blocks[0](embedded)]
        for block in self.blocks[1:]:
            features.append(block(self.pool(features[-1])))
        features[-1] = self.dropout(features[-1])
        return features

    def layers(self) -> list[nn.ModuleList]:
        """One block a level."""
        return [nn.ModuleList([block]) for block in self.blocks]


class UNet3d(nn.Module):
    """Encoder, decoder with concatenated skips, 1x1x1 head."""

    def __init__(
        self,
        channels: int,
        classes: int,
        width: int = 16,
        levels: int = 5,
        norm: str = "instance",
        dropout: float = 0.3,
        dims: int = 3,
    ) -> None:
        super().__init__()
        self.mode = LINEAR[dims]
        self.encoder = UNet3dEncoder(channels, width, levels, norm, dropout, dims)
        widths = [width * 2**level for level in range(levels)]
        self.blocks = nn.ModuleList(
            _block(size + widths[level + 1], size, norm, dims)
            for level, size in enumerate(widths[:-1])
        )
        self.dropout = nn.Dropout(dropout)
        self.head = CONVOLUTION[dims](width, classes, 1)
        for module in self.modules():
            if isinstance(module, CONVOLUTION[dims]):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        *skips, x = self.encoder(image)
        for level in reversed(range(len(skips))):
            x = interpolate(x, scale_factor=2, mode=self.mode, align_corners=False)
            x = self.blocks[level](cat([skips[level], x], dim=1))
        logits: Tensor = self.head(self.dropout(x))
        return logits
