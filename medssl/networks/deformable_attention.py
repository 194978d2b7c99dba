"""Self-attention of a slice to a few learned places along the volume, linear in the slices.

Source: Deformable-DETR (Zhu et al., ICLR 2021) in one dimension (sheet of joint 2D-3D pre-training,
section 6). What the release of that method runs instead does not mix slices: it takes the features
for the sequence and samples two fixed places of it.

Legend: B volumes, N slices, M heads, P points, E features, D = E / M features of a head.
"""

import torch
from torch import Tensor, nn


def attend(values: Tensor, position: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of values, linearly interpolated at real places along the slices.

    Args:
        values: [B, N, M, D].
        position: [B, Q, M, P], in slices: 0 is the first one's centre. Outside of 0 ... N - 1 the
            values are zero, so between -1 and 0 they fade out.
        weight: [B, Q, M, P].

    Returns:
        [B, Q, M, D].
    """
    items, slices, heads, width = values.shape
    queries, points = position.shape[1], position.shape[3]
    lower = position.floor()
    above = position - lower
    taps = torch.cat([lower, lower + 1], dim=3)
    shares = torch.cat([weight * (1 - above), weight * above], dim=3)
    shares = shares * ((taps >= 0) & (taps < slices))
    index = taps.clamp(0, slices - 1).long()
    flat = (items, heads, queries * 2 * points)
    index = index.transpose(1, 2).reshape(*flat, 1).expand(-1, -1, -1, width)
    found = values.transpose(1, 2).gather(2, index)
    found = found.view(items, heads, queries, 2 * points, width)
    shares = shares.transpose(1, 2).unsqueeze(3)
    return (shares @ found).squeeze(3).transpose(1, 2)


class DeformableAttention(nn.Module):
    """Every head of every slice looks at P places near its own and weighs what it finds.

    Begins with equal weights and offsets of 1 to P slices, up in even heads and down in odd ones.
    """

    def __init__(self, width: int, heads: int, points: int) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.offset = nn.Linear(width, heads * points)
        self.weight = nn.Linear(width, heads * points)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        for layer in (self.offset, self.weight):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        way = 1 - 2 * (torch.arange(heads) % 2)
        reach = torch.arange(1, points + 1)
        with torch.no_grad():
            self.offset.bias.copy_((way[:, None] * reach).flatten())

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Tokens [B, N, E] to [B, N, E]; where `valid` [B, N] is false nothing is looked at.

        Places and interpolation are never in half precision, which cannot count slices finely.
        """
        items, slices, width = tokens.shape
        shape = (items, slices, self.heads, -1)
        values = self.value(tokens).masked_fill(~valid.unsqueeze(2), 0).view(shape)
        offset, weight = self.offset(tokens).view(shape), self.weight(tokens).view(shape)
        with torch.autocast(tokens.device.type, enabled=False):
            own = torch.arange(slices, device=tokens.device).view(1, slices, 1, 1)
            found = attend(values.float(), own + offset.float(), weight.float().softmax(3))
        mixed: Tensor = self.output(found.reshape(items, slices, width).to(tokens.dtype))
        return mixed
