"""Features changed on their way from a network's encoder to its decoder.

Legend: B items, C channels, X Y Z voxels, of each level; 2-D networks have no Z.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from medssl.networks.flat import Flat

Change = Callable[[list[Tensor]], list[Tensor]]
"""Of features [B, C, X, Y, Z] of every level, finest first; there may be more items after it."""


@contextmanager
def changed_features(network: nn.Module, change: Change) -> Iterator[None]:
    """While it lasts, the decoder of `network` gets changed features.

    Args:
        network: one whose decoder sees what its `encoder` returns, and nothing else.
    """
    inner = network.network if isinstance(network, Flat) else network
    encoder: nn.Module = inner.encoder  # type: ignore[assignment]
    hook = encoder.register_forward_hook(lambda module, given, found: change(found))
    try:
        yield
    finally:
        hook.remove()


def channels_dropped(features: Tensor, probability: float, generator: Generator) -> Tensor:
    """Whole channels of each item 0, the others larger, so that their expectation stays."""
    kept = _draws(features, generator) >= probability
    return features * (kept / (1 - probability)).to(features.dtype)


def complementary(features: Tensor, generator: Generator) -> Tensor:
    """Each channel doubled in one of two views and 0 in the other, so that their mean stays.

    Half of the items, drawn at random, keep all channels in both views.

    Args:
        features: [2 B, C, X, Y, Z], the first views, then the second ones.
    """
    first = 2.0 * (_draws(features[: len(features) // 2], generator) >= 0.5)
    items = len(first)
    whole = torch.randperm(items, generator=generator, device=features.device)[: items // 2]
    first[whole] = 1.0
    return features * torch.cat([first, 2 - first]).to(features.dtype)


def _draws(features: Tensor, generator: Generator) -> Tensor:
    """[B, C, 1, 1, 1], in 2-D [B, C, 1, 1], uniform between 0 and 1."""
    size = (*features.shape[:2], *[1] * (features.ndim - 2))
    return torch.rand(size, generator=generator, device=features.device)
