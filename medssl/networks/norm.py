"""Normalisation layers that several networks share."""

from torch import nn


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 8 groups, or as many as divide the channels and leave two to a group.

    Unlike an instance norm, which gives every channel of every item one mean, it leaves the means
    of a group's channels apart. So what global average pooling sees still tells scans apart:
    choose it where an encoder is pre-trained on pooled features. (After the ReLU an instance norm
    leaves a little too, but little.)
    """
    fitting = (groups for groups in (8, 4, 2) if channels % groups == 0 and channels > groups)
    return nn.GroupNorm(next(fitting, 1), channels)


def rest_batch_norms(network: nn.Module) -> None:
    """Have 2-D batch norms use the statistics that they have, and leave them as they are."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
