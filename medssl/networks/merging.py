"""The merging of cells that MONAI's SwinUNETR had until MONAI 1.4.

MONAI 1.5 repaired it in place, so that weights from before load into the new one without complaint
and give other features. Two of every eight cells are never seen by it and two are seen twice, which
is what those weights were trained with.

Legend: B items, C channels, x y z cells.
"""

from torch import Tensor, cat, nn
from torch.nn.functional import pad

LEGACY = "legacy"
"""What `network.downsample` calls it."""

_CELLS = (
    (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)
)  # fmt: skip
"""Places of the eight cells that are put side by side, as in MONAI 0.9 to 1.4."""


class LegacyMerging(nn.Module):
    """[B, x, y, z, C] to [B, x / 2, y / 2, z / 2, 2 C]; odd sides are padded with 0."""

    def __init__(
        self, dim: int, norm_layer: type[nn.LayerNorm] = nn.LayerNorm, spatial_dims: int = 3
    ) -> None:
        super().__init__()
        if spatial_dims != 3:
            raise ValueError("the legacy merging is of volumes")
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(8 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Cells side by side, normalised, then mapped."""
        sides = x.shape[1:4]
        if any(side % 2 for side in sides):
            x = pad(x, (0, 0, 0, sides[2] % 2, 0, sides[1] % 2, 0, sides[0] % 2))
        cells = [x[:, i::2, j::2, k::2] for i, j, k in _CELLS]
        merged: Tensor = self.reduction(self.norm(cat(cells, -1)))
        return merged
