"""Which prototypes the last items went to, and whether that only tells their data sets apart.

Legend: L items that are remembered, B items, K prototypes.
"""

import torch
from torch import Tensor, nn


class ClusterUse(nn.Module):
    """The clusters of the latest items.

    Args:
        prototypes: how many clusters there are.
        items: how many different items there are.
        least: items that are remembered, unless twice the prototypes are more.
    """

    cluster: Tensor
    source: Tensor
    seen: Tensor

    def __init__(self, prototypes: int, items: int, least: int = 512) -> None:
        super().__init__()
        length = max(least, 2 * prototypes)
        self.prototypes, self.reachable = prototypes, max(1, min(prototypes, items))
        self.register_buffer("cluster", torch.full((length,), -1))
        self.register_buffer("source", torch.full((length,), -1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def add(self, cluster: Tensor, source: Tensor) -> None:
        """Remember the clusters [B] of items, and their data sets [B]."""
        length = len(self.cluster)
        self.cluster.copy_(torch.cat([cluster, self.cluster])[:length])
        self.source.copy_(torch.cat([source, self.source])[:length])
        self.seen += len(cluster)

    def used(self) -> Tensor:
        """Share of the prototypes in use, of those that the remembered items could reach; scalar.

        A prototype is in use if a remembered item went to it. NaN before the first item.
        """
        used = self.cluster.new_zeros(self.prototypes + 1).index_fill_(0, self.cluster + 1, 1)[1:]
        return used.sum() / self.seen.clamp_max(self.reachable)

    def full(self) -> Tensor:
        """Whether enough items are remembered to judge: twice as many as prototypes; scalar."""
        return self.seen >= len(self.cluster)

    def agreement_with_source(self) -> float:
        """Normalised mutual information of clusters and data sets: 1 if one determines the other.

        0 where all are of one data set.
        """
        from sklearn.metrics import normalized_mutual_info_score

        known = self.cluster >= 0
        cluster, source = self.cluster[known].cpu().numpy(), self.source[known].cpu().numpy()
        if len(set(source.tolist())) < 2:
            return 0.0
        return float(normalized_mutual_info_score(source, cluster))
