"""Losses of self-distillation and its remedies against collapse.

Source: sheet of Alice, sections 6 and 14.1; Caron et al., SwAV, NeurIPS 2020 (balanced targets);
Chen et al., SimCLR, ICML 2020 (NT-Xent); Yeh et al., Decoupled Contrastive Learning, ECCV 2022.

Legend: R rows (crops or tokens), K prototypes, b features, N negatives.
"""

from math import inf

import torch
from torch import Tensor


def sharpened(scores: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """A teacher's scores [..., K] as probabilities, centred and sharpened."""
    return ((scores - centre) / temperature).softmax(-1)


def balanced(scores: Tensor, temperature: float, rounds: int = 3) -> Tensor:
    """A teacher's scores [..., K] as probabilities that use all prototypes alike (Sinkhorn).

    Over all rows together every prototype gets the same mass, as far as so many rounds allow; each
    row sums to 1.
    """
    rows = scores.flatten(0, -2) / temperature
    log = rows - rows.logsumexp((0, 1))
    for _ in range(rounds):
        log = log - log.logsumexp(0, keepdim=True)
        log = log - log.logsumexp(1, keepdim=True)
    return log.exp().view(scores.shape)


def cross_entropy(target: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Mean over rows of -sum target log softmax(student / temperature); both [..., K]."""
    return -(target * (student / temperature).log_softmax(-1)).sum(-1).mean()


def between_volumes(target: Tensor, student: Tensor, temperature: float) -> Tensor:
    """The global term: each crop answers as the teacher does of its partner.

    Args:
        target: [2 R, K], the teacher's probabilities, of the first crops and then of the second.
        student: [2 R, K], scores in the same order.
    """
    return cross_entropy(target, student.roll(len(student) // 2, 0), temperature)


def contrast(
    student: Tensor,
    teacher: Tensor,
    queue: Tensor,
    filled: Tensor,
    settings: tuple[float, bool],
    alike: Tensor | None = None,
) -> Tensor:
    """The global term with negatives: each crop finds its partner among other places.

    A crop without any negative costs nothing.

    Args:
        student, teacher: [2 R, b] of unit length, first crops and then second.
        queue: [N, b] of unit length, the teacher's vectors of earlier steps.
        filled: [N] or [2 R, N] bool, which vectors of the queue are negatives.
        settings: the temperature, and whether the positive is left out of the denominator (DCL).
        alike: [2 R, 2 R] bool, crops that are no negatives of each other; None: none are.
    """
    temperature, decoupled = settings
    rows = len(student)
    every = student @ teacher.T / temperature
    own = torch.arange(rows, device=student.device)
    partner = own.roll(rows // 2)
    positive = every[own, partner]
    barred = torch.eye(rows, dtype=torch.bool, device=student.device)
    barred[own, partner] = True
    barred = barred if alike is None else barred | alike
    others = every.masked_fill(barred, -inf)
    earlier = (student @ queue.T / temperature).masked_fill(~filled, -inf)
    negatives = torch.cat([others, earlier], dim=1)
    if decoupled:
        told = (negatives > -inf).any(1)
        # Crops without negatives get finite ones, so that their gradient is 0 and not undefined.
        pushed = torch.where(told[:, None], negatives, 0).logsumexp(1)
        return torch.where(told, pushed - positive, 0).mean()
    return (torch.cat([positive[:, None], negatives], dim=1).logsumexp(1) - positive).mean()
