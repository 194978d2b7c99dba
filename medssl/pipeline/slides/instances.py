"""What a trained classifier says of single instances: tiles of a heat map, keys of a bag.

Legend: N instances, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from medssl.data.bag import BagSource
from medssl.evaluate.classification import patch_auc


@dataclass(frozen=True)
class InstanceScores:
    """Scores of one bag's instances, higher for the classes that are not the negative one.

    Attributes:
        kind: "probability" of the instance, or "attention" where a method gives no probability.
        values: [N] in [0, 1]; attention is divided by its largest value.
    """

    kind: str
    values: np.ndarray


@torch.no_grad()
def instance_scores(head: nn.Module, bag: BagSource, device: torch.device) -> InstanceScores | None:
    """Of every instance of a bag; None where the method says nothing of instances."""
    features = torch.from_numpy(np.asarray(bag.features, np.float32)).to(device)
    found = head.eval()(features)
    if found.instances is not None:
        positive = found.instances[:, 1:].amax(1)
        return InstanceScores("probability", positive.float().cpu().numpy())
    if found.attention is not None:
        attention = found.attention.float().cpu().numpy()
        return InstanceScores("attention", attention / max(attention.max(), 1e-12))
    return None


def key_numbers(
    scores: Sequence[InstanceScores], labels: Sequence[np.ndarray], top: int
) -> dict[str, float]:
    """How well instances are ranked, over bags whose instances have labels.

    Args:
        labels: [N] bool of each bag.
        top: how many instances of a bag count as selected.

    Returns:
        `patch_auc` over all instances pooled, and `keys_found`, the share of key instances among
        the `top` of their bag.
    """
    found = [
        np.isin(np.flatnonzero(truth), np.argsort(-one.values, kind="stable")[:top])
        for one, truth in zip(scores, labels, strict=True)
    ]
    numbers = {"patch_auc": patch_auc([one.values for one in scores], list(labels)).value}
    keys = np.concatenate(found) if found else np.empty(0)
    return numbers | ({"keys_found": float(keys.mean())} if len(keys) else {})
