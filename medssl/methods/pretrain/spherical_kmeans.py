"""k-means on the sphere: a row belongs to the centroid of the largest dot product.

Source: DeepCluster-v2 (sheet of joint 2D-3D pre-training, section 3).

Legend: n rows, K clusters, E features.
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

CHUNK = 65536
"""Rows whose products with all centroids are held at a time."""


@torch.no_grad()
def spherical_kmeans(rows: Tensor, start: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Clusters of unit rows [n, E].

    Args:
        start: [K, E], the first centroids.
        iterations: updates of the centroids. An empty cluster keeps its centroid.

    Returns:
        Labels [n] int64 and centroids [K, E] of length 1.
    """
    centroids = normalize(start.float(), dim=1)
    for _ in range(iterations):
        labels = _labels(rows, centroids)
        sums = torch.zeros_like(centroids).index_add_(0, labels, rows)
        sizes = torch.zeros_like(centroids[:, 0]).index_add_(0, labels, torch.ones_like(rows[:, 0]))
        means = normalize(sums, dim=1)
        centroids = torch.where((sizes > 0).unsqueeze(1), means, centroids)
    return _labels(rows, centroids), centroids


def _labels(rows: Tensor, centroids: Tensor) -> Tensor:
    """The nearest centroid of each row, [n]."""
    return torch.cat([(part @ centroids.T).argmax(1) for part in torch.split(rows, CHUNK)])


def first_centroids(rows: Tensor, clusters: int, generator: Generator) -> Tensor:
    """[clusters, E] random rows of [n, E]; none twice, as far as there are enough."""
    order = torch.randperm(len(rows), generator=generator, device=rows.device)
    return rows[order.repeat(-(-clusters // len(rows)))[:clusters]]
