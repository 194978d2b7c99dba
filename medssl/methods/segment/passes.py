"""How networks are asked within a step, and which of them answer after training.

Legend: B items, C channels, K classes, X Y Z voxels.
"""

import torch
from torch import Tensor, nn

from medssl.methods.segment.losses import at_least_float32
from medssl.networks.outputs import Outputs


def has_batch_statistics(network: nn.Module) -> bool:
    """Whether an item's answer in training depends on the other items of its batch."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


@torch.no_grad()
def taught_by(network: nn.Module, image: Tensor, train_mode: bool, outputs: Outputs) -> Tensor:
    """Logits of classes [B, K, X, Y, Z] of images [B, C, X, Y, Z], of which no gradient is kept.

    Args:
        outputs: what the network answers with.
        train_mode: with dropout and batch statistics; otherwise in evaluation mode, after which
            the network is in the mode that it was in.
    """
    before = network.training
    network.train(train_mode and before)
    logits: Tensor = network(image)
    network.train(before)
    return outputs.as_classes(at_least_float32(logits))
