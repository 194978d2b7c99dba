"""Several networks answering as one.

Legend: B items, C channels, X Y Z voxels, K classes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from medssl.networks.outputs import Outputs


class Ensemble(nn.Module):
    """Mean of the members' class probabilities, given as log-probabilities.

    The softmax of the output is exactly the mean softmax. One member answers with its own logits.

    Args:
        outputs: what the channels are; None: classes. Of regions the sigmoid of the output is the
            mean sigmoid.
    """

    def __init__(self, members: Iterable[nn.Module], outputs: Outputs | None = None) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.outputs = outputs or Outputs(())

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        if len(self.members) == 1:
            logits: Tensor = self.members[0](image)
            return logits
        return self.mean(self.answers(image))

    def answers(self, image: Tensor) -> Tensor:
        """Log-probabilities of each of the M members, of regions logits, [M, B, K, X, Y, Z]."""
        return torch.stack([self.outputs.log(member(image)) for member in self.members])

    def mean(self, answers: Tensor) -> Tensor:
        """The answer of all members together, [B, K, X, Y, Z]."""
        return self.outputs.mean(answers)
