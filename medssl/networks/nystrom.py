"""Nystrom attention: softmax attention through landmarks, linear in the number of tokens.

Source: Xiong et al., Nystromformer, AAAI 2021 (arXiv 2102.03902), in the form TransMIL uses.

Legend: N tokens, M landmarks, E width, H heads, D = E / H.
"""

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional


def pseudo_inverse(matrix: Tensor, iterations: int) -> Tensor:
    """Moore-Penrose inverse of [H, M, M] by an iteration of third order (section 3.3).

    The start is scaled by the largest absolute row and column sums over all heads.
    """
    with torch.autocast(matrix.device.type, enabled=False):
        return _iterate(matrix, iterations)


def _iterate(matrix: Tensor, iterations: int) -> Tensor:
    size = matrix.abs()
    inverse = matrix.mT / (size.sum(-1).amax() * size.sum(-2).amax())
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    for _ in range(iterations):
        product = matrix @ inverse
        inverse = 0.25 * inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return inverse


class NystromAttention(nn.Module):
    """Multi-head attention over landmarks, with a depthwise convolution of the values beside it.

    Args:
        width: E, a multiple of `heads`.
        landmarks: M, means of runs of tokens; zeros are put before the first token so that
            the runs have equal length.
        iterations: of the pseudo-inverse.
        kernel: odd length of the convolution along the tokens.
    """

    def __init__(
        self, width: int, heads: int, landmarks: int, iterations: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        self.heads, self.landmarks, self.iterations = heads, landmarks, iterations
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)
        self.residual = nn.Conv1d(
            heads, heads, kernel, padding=kernel // 2, groups=heads, bias=False
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [N, E] to [N, E]."""
        run = ceil(len(tokens) / self.landmarks)
        padded = functional.pad(tokens, (0, 0, run * self.landmarks - len(tokens), 0))
        parts = self.project(padded).chunk(3, dim=-1)
        query, key, value = (part.unflatten(1, (self.heads, -1)).transpose(0, 1) for part in parts)
        query = query * query.shape[-1] ** -0.5
        query_marks, key_marks = (
            part.unflatten(1, (self.landmarks, run)).mean(2) for part in (query, key)
        )
        to_marks = (query @ key_marks.mT).softmax(-1)
        between = (query_marks @ key_marks.mT).softmax(-1)
        from_marks = (query_marks @ key.mT).softmax(-1)
        mixed = to_marks @ (pseudo_inverse(between, self.iterations) @ (from_marks @ value))
        mixed = mixed + self._along(value)
        kept = mixed[:, -len(tokens) :].transpose(0, 1).flatten(1)
        answer: Tensor = self.drop(self.out(kept))
        return answer

    def _along(self, value: Tensor) -> Tensor:
        """Each head's values [H, P, D] convolved along the tokens with the head's own kernel."""
        along: Tensor = self.residual(value.permute(2, 0, 1))
        return along.permute(1, 2, 0)
