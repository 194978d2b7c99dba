"""How far answers lie apart, and how much that counts while training begins.

Legend: B images, K grades.
"""

from math import exp

from torch import Tensor, nn
from torch.nn.functional import mse_loss

from medssl.methods.method import Progress


def answer_distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference of the probabilities, over B and K, of logits [B, K] each.

    Gradients flow into both.
    """
    return mse_loss(first.softmax(1), second.softmax(1))


def gaussian_ramp(progress: Progress, share: float) -> float:
    """From exp(-5) to 1 over that share of the training (Laine & Aila, ICLR 2017); 0: always 1."""
    done = min(1.0, progress.step / progress.steps / share) if share else 1.0
    return exp(-5 * (1 - done) ** 2)


def linear_ramp(progress: Progress, share: float, start: float = 0.0) -> float:
    """0 during the share `start` of the training, then linear to 1 over `share`; 0: at once."""
    beyond = progress.step / progress.steps - start
    if beyond <= 0 < start:
        return 0.0
    return min(1.0, beyond / share) if share else 1.0


def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Set all parameters to decay * average + (1 - decay) * network, in place."""
    for old, new in zip(average.parameters(), network.parameters(), strict=True):
        old.lerp_(new, 1 - decay)
