"""TransMIL: a transformer over the patches, laid out on a square grid in the order they come.

Source: Shao et al., NeurIPS 2021 (arXiv 2106.00908), and its release. The answer depends on the
order of the patches.

Legend: N patches, E features, W token width, T = side^2 tokens, K classes.
"""

from math import isqrt

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from medssl.data.bags.bag import BagBatch
from medssl.methods.method import BagPrediction, BagTask
from medssl.methods.settings.transmil import Settings
from medssl.methods.slide.outputs import OneNetworkHead, refuse_empty
from medssl.networks.nystrom import NystromAttention


class Layer(nn.Module):
    """Pre-norm Nystrom attention with a residual; there is no feed-forward."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(settings.embed_width)
        self.attention = NystromAttention(
            settings.embed_width,
            settings.heads,
            settings.landmarks,
            settings.iterations,
            settings.kernel,
            settings.dropout,
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [1 + T, W] to [1 + T, W]."""
        mixed: Tensor = self.attention(self.norm(tokens))
        return tokens + mixed


class PyramidPositions(nn.Module):
    """PPEG: depthwise convolutions of three sizes on the grid, added to the tokens on it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, width, size, padding=size // 2, groups=width) for size in (7, 5, 3)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Class token and grid [1 + side^2, W] to the same; the class token passes."""
        side = isqrt(len(tokens) - 1)
        grid = tokens[1:].mT.reshape(1, -1, side, side)
        placed = torch.stack([grid, *(conv(grid) for conv in self.convolutions)]).sum(0)
        return torch.cat([tokens[:1], placed.squeeze(0).flatten(1).mT])


def square(rows: Tensor) -> Tensor:
    """Rows [N, W] with the first ones repeated at the end until they fill a square grid."""
    side = isqrt(len(rows) - 1) + 1
    return torch.cat([rows, rows[: side * side - len(rows)]])


class TransMilNetwork(nn.Module):
    """Projection, class token, layer, positions, layer, norm, linear readout of the class token."""

    def __init__(self, settings: Settings, width: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, settings.embed_width)
        self.token = nn.Parameter(torch.randn(1, settings.embed_width))
        self.first, self.second = Layer(settings), Layer(settings)
        self.positions = PyramidPositions(settings.embed_width)
        self.norm = nn.LayerNorm(settings.embed_width)
        self.readout = nn.Linear(settings.embed_width, classes)

    def logits(self, features: Tensor) -> Tensor:
        """Features [N, E] to class logits [K]."""
        refuse_empty(features)
        tokens = torch.cat([self.token, square(self.project(features).relu())])
        tokens = self.second(self.positions(self.first(tokens)))
        logits: Tensor = self.readout(self.norm(tokens[0]))
        return logits

    def forward(self, features: Tensor) -> BagPrediction:
        """Features [N, E] to the bag's softmax; it judges no patches and shows no attention."""
        return BagPrediction(self.logits(features).float().softmax(0), None, None)


class TransMil(OneNetworkHead[TransMilNetwork]):
    """Learns from the bag's label by cross-entropy."""

    def build(self, settings: Settings, task: BagTask) -> TransMilNetwork:
        """The network of a task."""
        return TransMilNetwork(settings, task.width, len(task.classes))

    def losses(self, bag: BagBatch, generator: Generator) -> dict[str, Tensor]:
        """Cross-entropy of the bag."""
        logits = self.network.logits(bag.features)
        return {"bag": functional.cross_entropy(logits.float(), bag.label)}
