"""Features on their way from a network's encoder to its decoder, and channels of them dropped.

Legend: B items, C channels, X Y Z voxels, of each level; 2-D networks have no Z.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from medssl.errors import UsageError
from medssl.methods.method import Task
from medssl.networks.encoder_decoder import EncoderDecoder, divide
from medssl.networks.encoder_search import Unparted, find_parts


def reach_features(network: nn.Module, task: Task, method: str, advice: str) -> EncoderDecoder:
    """Let `changed_features` change those of a network of the task.

    Args:
        method: its name, for the message.
        advice: what to do where they cannot be reached.

    Raises:
        UsageError: the network has no encoder and decoder.
    """
    try:
        parts = find_parts(network, len(task.channels), task.patch)
    except Unparted as error:
        raise UsageError(
            f"method {method} cannot reach the features of network.name={task.network.name}",
            str(error),
            advice,
        ) from error
    return divide(network, parts)


def channels_kept(
    shape: Sequence[int], probability: float, generator: Generator, device: torch.device
) -> Tensor:
    """[B, C, 1, 1, 1]: 0 for whole channels of an item, the others larger, so that 1 is expected.

    Args:
        shape: of the features, [B, C, X, Y, Z].
    """
    kept = _draws(shape, generator, device) >= probability
    return kept / (1 - probability)


def complementary(shape: Sequence[int], generator: Generator, device: torch.device) -> Tensor:
    """[2 B, C, 1, 1, 1]: each channel 2 in one of two views and 0 in the other.

    Half of the items, drawn at random, have 1 in both views.

    Args:
        shape: of the features [2 B, C, X, Y, Z], the first views, then the second ones.
    """
    first = 2.0 * (_draws((shape[0] // 2, *shape[1:]), generator, device) >= 0.5)
    items = len(first)
    whole = torch.randperm(items, generator=generator, device=device)[: items // 2]
    first[whole] = 1.0
    return torch.cat([first, 2 - first])


def _draws(shape: Sequence[int], generator: Generator, device: torch.device) -> Tensor:
    """[B, C, 1, 1, 1], in 2-D [B, C, 1, 1], uniform between 0 and 1."""
    return torch.rand((*shape[:2], *[1] * (len(shape) - 2)), generator=generator, device=device)
