"""Which patches of a bag become global tokens: the best by score, and others at random.

Source: Snuffy (ECCV 2024, arXiv 2408.08258), class-related and random global tokens.

Legend: N patches, C outputs.
"""

from fractions import Fraction
from math import floor

import torch
from torch import Generator, Tensor

_SHARE_DENOMINATOR = 1_000_000
"""Shares are read as fractions up to this denominator: 0.7 is 7/10, 0.777... is 7/9."""


def token_counts(total: int, random_share: float) -> tuple[int, int]:
    """How many (best, random) tokens a layer has; together always `total`.

    Exact: random = floor(total * share) of the fraction that `random_share` stands for. In floating
    point 10 tokens with share 0.7 would be 4 + 7, as in the release.
    """
    share = Fraction(random_share).limit_denominator(_SHARE_DENOMINATOR)
    random = floor(total * share)
    return total - random, random


def top_tokens(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` best of each output's scores [N, C], each once; all if N is less.

    The lowest index wins a tie. With one output the best comes first, with several the indices are
    sorted. Scores count as float32.
    """
    count = min(count, len(scores))
    found = [
        _ranks(column).topk(count).indices for column in scores.detach().to(torch.float32).unbind(1)
    ]
    return found[0] if len(found) == 1 else torch.unique(torch.cat(found))


def random_tokens(taken: Tensor, patches: int, count: int, generator: Generator) -> Tensor:
    """Indices of `count` of the patches not `taken`, uniform without replacement.

    Fewer where fewer are left. `generator` is on the device of `taken`.
    """
    count = min(count, patches - len(taken))
    # float32 has too few values for 10^5 patches to differ.
    keys = torch.rand(patches, generator=generator, device=taken.device, dtype=torch.float64)
    keys[taken] = -1
    return keys.topk(count).indices


def selected_first(selected: Tensor, patches: int) -> Tensor:
    """All indices [N]: the `selected` as given, then the others in order."""
    other = torch.ones(patches, dtype=torch.bool, device=selected.device)
    other[selected] = False
    # Not `nonzero`, for which the host would wait: the selected all go to a last place, cut off.
    count = patches - len(selected)
    place = (other.cumsum(0) - 1).masked_fill(~other, count)
    index = torch.arange(patches, device=selected.device)
    return torch.cat([selected, index.new_empty(count + 1).scatter_(0, place, index)[:count]])


def _ranks(scores: Tensor) -> Tensor:
    """int64 keys of float32 scores [N] without ties: by score, then by lower index.

    The bits of a float, read as an integer with those of negative numbers turned round, order as
    the numbers do; `topk` alone leaves open which of equal values it returns.
    """
    bits = (scores + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    index = torch.arange(len(scores), device=scores.device)
    return (ordered.long() << 32) + (0xFFFFFFFF - index)
