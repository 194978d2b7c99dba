"""Several slide classifiers answering as one.

Legend: N instances, E features, K classes.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from medssl.methods.method import BagPrediction


class BagEnsemble(nn.Module):
    """Mean of the members' probabilities; of instances and attention where all members have them.

    Members are, for example, the folds of a cross-validation, each with its own scale of features.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features: Tensor) -> BagPrediction:
        """Features [N, E] of one bag to its prediction."""
        found = [member(features) for member in self.members]
        return BagPrediction(
            torch.stack([one.probability for one in found]).mean(0),
            _mean([one.instances for one in found]),
            _mean([one.attention for one in found]),
        )


def _mean(values: Sequence[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.stack(present).mean(0) if len(present) == len(values) else None
