"""Whether scans of one place find each other across contrasts.

Source: sheet of modality-invariant learning, sections 8.2 and 10.2.

Legend: N items of the gallery, E features, P patients.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np


@dataclass(frozen=True)
class Retrieval:
    """How well queries find their own item in a gallery, in one direction.

    Attributes:
        top1, top5: share of queries whose own item is among the first one or five; an item that
            ties with others is as likely at each of their places.
        median_rank: median over queries of the rank of their own item, from 1; ties count half.
        gallery: N, the items among which is searched.
    """

    top1: float
    top5: float
    median_rank: float
    gallery: int


def retrieve(query: np.ndarray, gallery: np.ndarray) -> Retrieval:
    """Row i of `query` [N, E] looks for row i of `gallery` [N, E] by cosine similarity.

    All NaN where a feature is not finite: comparisons with NaN would count it as found.
    """
    likeness = unit(query) @ unit(gallery).T
    if not np.isfinite(likeness).all():
        return Retrieval(np.nan, np.nan, np.nan, len(gallery))
    own = np.diag(likeness)[:, None]
    # Rounding must not decide between equals.
    near = np.isclose(likeness, own, rtol=0, atol=1e-6)
    better = ((likeness > own) & ~near).sum(1)
    tied = near.sum(1)
    return Retrieval(
        top1=float(_among(better, tied, 1).mean()),
        top5=float(_among(better, tied, 5).mean()),
        median_rank=float(np.median(better + (tied + 1) / 2)),
        gallery=len(gallery),
    )


def retrieve_across(
    first: np.ndarray, second: np.ndarray, contrast: np.ndarray, item: np.ndarray
) -> dict[tuple[int, int], Retrieval]:
    """Every ordered pair of contrasts, over the items that have both.

    Args:
        first: [M, E], features of the queries, a row per item and contrast.
        second: [M, E], features of another view of the same scans, which form the gallery.
        contrast, item: [M], those of each row.
    """
    found = {}
    for one, other in permutations(np.unique(contrast[contrast >= 0]).tolist(), 2):
        rows = {c: dict(zip(item[contrast == c], np.flatnonzero(contrast == c), strict=True))
                for c in (one, other)}  # fmt: skip
        both = sorted(set(rows[one]) & set(rows[other]))
        if len(both) > 1:
            queries, gallery = ([rows[c][i] for i in both] for c in (one, other))
            found[one, other] = retrieve(first[queries], second[gallery])
    return found


def cross_distance(features: np.ndarray, contrast: np.ndarray, item: np.ndarray) -> float:
    """Mean cosine distance between the contrasts of an item; NaN where no item has two."""
    directions = unit(features)
    pairs = (item[:, None] == item) & (contrast[:, None] != contrast)
    return float(1 - (directions @ directions.T)[pairs].mean()) if pairs.any() else float("nan")


def unit(features: np.ndarray) -> np.ndarray:
    """Rows [N, E] of length 1, in float64; zero rows stay zero."""
    plain = features.astype(np.float64)
    length = np.linalg.norm(plain, axis=1, keepdims=True)
    return np.asarray(plain / np.where(length > 0, length, 1))


def _among(better: np.ndarray, tied: np.ndarray, first: int) -> np.ndarray:
    """Chance that the own item, one of `tied` after `better` ones, is among the `first`."""
    return np.asarray(np.clip((first - better) / tied, 0, 1))
