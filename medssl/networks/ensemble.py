"""Several networks answering as one.

Legend: B items, C channels, X Y Z voxels, K classes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Mean of the members' class probabilities, given as log-probabilities.

    The softmax of the output is exactly the mean softmax. One member answers with its own logits.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        if len(self.members) == 1:
            logits: Tensor = self.members[0](image)
            return logits
        return self.mean(self.answers(image))

    def answers(self, image: Tensor) -> Tensor:
        """Log-probabilities of each of the M members, [M, B, K, X, Y, Z]."""
        return torch.stack([member(image).log_softmax(1) for member in self.members])

    def mean(self, answers: Tensor) -> Tensor:
        """The answer of all members together, [B, K, X, Y, Z]."""
        return answers.logsumexp(0) - torch.tensor(float(len(self.members))).log().to(answers)
