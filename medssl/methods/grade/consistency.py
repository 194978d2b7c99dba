"""How far answers lie apart.

Legend: B images, K grades.
"""

from torch import Tensor
from torch.nn.functional import mse_loss


def answer_distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference of the probabilities, over B and K, of logits [B, K] each.

    Gradients flow into both.
    """
    return mse_loss(first.softmax(1), second.softmax(1))
