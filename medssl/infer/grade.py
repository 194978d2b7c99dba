"""Grades of radiographs by a trained network.

Legend: N images, V crops of an image, S pixels of a side, K grades.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from medssl.data.radiograph.augment import evaluation_view


@torch.no_grad()
def grade_logits(
    network: nn.Module, crops: np.ndarray, places: Sequence[int], batch: int, device: torch.device
) -> np.ndarray:
    """Logits [len(places), K] float64 of the images at `places` of crops [N, V, S, S] uint8.

    The network should be in evaluation mode, on `device`.
    """
    found = []
    for start in range(0, len(places), batch):
        image = torch.from_numpy(crops[list(places[start : start + batch])]).to(device)
        found.append(network(evaluation_view(image)).double().cpu().numpy())
    return np.concatenate(found)


def calibrated(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [N, K] of logits [N, K] at a temperature."""
    return np.asarray(softmax(logits / temperature, axis=1))
