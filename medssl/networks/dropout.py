"""Dropout whose mask costs a CPU little: torch draws it in double precision, one number a value."""

from math import prod

import torch
from torch import Tensor, nn

from medssl.networks.rows import drawn_for_all, share

STEPS = 1 << 16
"""A share of values is kept to 1 / 65,536: four values take their bits from one random integer."""


class Dropout(nn.Dropout):
    """Torch's dropout, by torch's generator; on a CPU its mask takes a quarter of the time."""

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape, a share `p` of them 0, the others larger by 1 / (1 - p)."""
        dropped = round(self.p * STEPS)
        if not self.training or dropped in (0, STEPS):
            return super().forward(values)
        if values.device.type != "cpu":
            usual = super().forward
            if share() is None:
                return usual(values)
            return values * drawn_for_all(lambda full: usual(values.new_ones(full)), values.shape)
        bits = drawn_for_all(_bits, values.shape)
        kept = bits >= dropped - STEPS // 2
        return values * kept * (1 / (1 - self.p))


def _bits(shape: tuple[int, ...]) -> Tensor:
    """Random int16 numbers."""
    count = prod(shape)
    integers = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = integers.view(torch.int16)[:count].view(shape)
    # Compiled, a view loses its type where the next batch has another size.
    return bits.clone() if torch.compiler.is_compiling() else bits
