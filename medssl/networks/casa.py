"""CASA: the conditional anatomical semantic alignment module of Alice.

Source: sheet of Alice, section 5. "Conditional": the student's encoder tokens ask in both
branches, so that the outputs of student and teacher belong to the same places; where the teacher's
own tokens of these places ask in its branch, they do too.

Legend: B crops, Lq tokens that ask, Lk tokens that are asked, O outputs of the head (the width).
"""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Casa(nn.Module):
    """Cross-attention and a feed-forward layer, each with a shortcut and a LayerNorm after it.

    Args:
        width: O; divisible by `heads`.
        hidden: of the feed-forward layer.
        dropout: of the attention's weights, of its output and of the feed-forward layer's.
    """

    def __init__(self, width: int, heads: int = 8, hidden: int = 2048, dropout: float = 0.1):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.Dropout(dropout)
        )
        self.norm_after = nn.LayerNorm(width, eps=1e-6)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Tokens [B, Lq, O] that ask and [B, Lk, O] that are asked, to [B, Lq, O]."""
        split = (self._split(self.query(tokens)), self._split(self.key(context)))
        found = scaled_dot_product_attention(
            *split,
            self._split(self.value(context)),
            dropout_p=self.dropout if self.training else 0.0,
        )
        joined = found.transpose(1, 2).flatten(2)
        x = self.norm(tokens + self.drop(self.output(joined)))
        aligned: Tensor = self.norm_after(x + self.feed_forward(x))
        return aligned

    def _split(self, x: Tensor) -> Tensor:
        """[B, L, O] to [B, heads, L, O / heads]."""
        items, length, width = x.shape
        return x.view(items, length, self.heads, width // self.heads).transpose(1, 2)

    def averaged(self) -> "Casa":
        """A copy for the target branch, to be moved by averaging; it asks as this one does.

        Its query projection is this module's own, so both branches ask the same; the copy's other
        weights take no gradient.
        """
        copy = deepcopy(self).requires_grad_(False).eval()
        copy.query = self.query
        return copy


def build_casa(width: int, heads: int, hidden: int, dropout: float, seed: int) -> Casa:
    """A new module; equal seeds give equal weights, the global generator stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Casa(width, heads, hidden, dropout)
