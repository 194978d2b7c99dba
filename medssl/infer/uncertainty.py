"""How sure a prediction is, and a surer one by asking about mirrored copies.

Legend: B items, C channels, K classes, X Y Z voxels.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import log

import torch
from torch import Tensor

from medssl.networks.outputs import Outputs

Predictor = Callable[[Tensor], Tensor]


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy over the classes as a share of the greatest possible: 0 sure, 1 no idea.

    Args:
        probabilities: [K, ...] of any float type, K at least 2, summing to 1 over K.

    Returns:
        [...] float32.

    Raises:
        ValueError: if there are fewer than two classes.
    """
    classes = probabilities.shape[0]
    if classes < 2:
        raise ValueError(f"entropy needs at least two classes, not {classes}")
    total = torch.zeros(probabilities.shape[1:], device=probabilities.device)
    for one in probabilities:  # one class at a time: no second volume of all classes
        total += torch.special.entr(one.float())
    return total.div_(log(classes)).clamp_(0, 1)


def flipped(predictor: Predictor, axes: Sequence[int], outputs: Outputs) -> Predictor:
    """A predictor that averages probabilities over every mirrored copy of its input.

    Args:
        predictor: windows [B, C, X, Y, Z] to logits [B, K, X, Y, Z].
        axes: which of X Y Z (0, 1, 2) are mirrored; n axes make 2**n calls.
        outputs: what the predictor answers with.

    Returns:
        A predictor of the same shapes. It answers with log-probabilities, so that it stands
        wherever logits do: their softmax is the mean of the copies' softmax, of regions sigmoid.
    """
    spatial = [axis + 2 for axis in axes]
    flips = [chosen for n in range(1, len(spatial) + 1) for chosen in combinations(spatial, n)]

    def averaged(windows: Tensor) -> Tensor:
        total = outputs.probabilities(predictor(windows).float())
        for flip in flips:
            total += outputs.probabilities(predictor(windows.flip(flip)).float()).flip(flip)
        # A probability of 0 would become -inf, and -inf times a weight of 0 no number at all.
        return outputs.logits(total / (len(flips) + 1))

    return averaged
