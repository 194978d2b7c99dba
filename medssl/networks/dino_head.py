"""DINO's head: from features to unnormalised scores of prototypes.

Source: Caron et al., DINO, ICCV 2021, and its released code.

Legend: B images, E features, K prototypes (the head's outputs), b bottleneck.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize


class Prototypes(nn.Module):
    """A linear map without bias whose rows have a direction and a gain (weight normalisation).

    Args:
        fixed_gain: every gain stays 1, so scores are cosines.
    """

    def __init__(self, bottleneck: int, outputs: int, fixed_gain: bool) -> None:
        super().__init__()
        self.direction = nn.Linear(bottleneck, outputs, bias=False).weight
        self.gain = nn.Parameter(torch.ones(outputs, 1), requires_grad=not fixed_gain)

    def forward(self, unit: Tensor, frozen: bool) -> Tensor:
        """Unit vectors [B, b] to scores [B, K]; `frozen`: without a gradient to the map."""
        weight = self.gain * normalize(self.direction, dim=1)
        return linear(unit, weight.detach() if frozen else weight)


class DinoHead(nn.Module):
    """Three-layer MLP, L2 normalisation, prototypes."""

    def __init__(
        self, width: int, hidden: int, bottleneck: int, outputs: int, fixed_gain: bool
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = Prototypes(bottleneck, outputs, fixed_gain)

    def forward(self, features: Tensor, frozen: bool = False) -> Tensor:
        """Features [B, E] to scores [B, K].

        Args:
            frozen: no gradient reaches the last layer's weights.
        """
        scores: Tensor = self.prototypes(normalize(self.mlp(features), dim=1), frozen)
        return scores
