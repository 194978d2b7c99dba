"""Clusters that two views of an item must agree on, in two forms: SwAV and DeepCluster-v2.

Source: SwAV (Caron et al., NeurIPS 2020) and its DeepCluster-v2 (sheet of joint 2D-3D pre-training,
sections 3 and 5). Both use one form for images and slices and again for volumes.

Legend: V crops of an item, B items, K prototypes, H heads, L items of a queue, n items in all, E
features, G data sets.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, normalize, one_hot

from medssl.methods.pretrain.sinkhorn import sinkhorn
from medssl.methods.pretrain.spherical_kmeans import first_centroids, spherical_kmeans
from medssl.methods.settings.joint2d3d import DeepCluster, Level, Swav
from medssl.networks.on_host import OnHost

ASSIGNED = 2
"""Crops that are assigned to clusters; the smaller ones behind them only predict."""

UNKNOWN = -100
"""Label of an item that has not been clustered; `cross_entropy` passes over it."""


def swav_loss(scores: Sequence[Tensor], targets: Sequence[Tensor], temperature: float) -> Tensor:
    """Mean over the assigned crops of the mean cross-entropy of all other crops.

    Args:
        scores: [B, K] of each crop.
        targets: [B, K] of the first crops, each item's sum 1; no gradient flows into them.
    """
    logs = torch.stack([score / temperature for score in scores]).log_softmax(2)
    terms = [
        -(target.detach() * logs[view]).sum(1).mean()
        for assigned, target in enumerate(targets)
        for view in range(len(scores))
        if view != assigned
    ]
    return torch.stack(terms).mean()


class Items(NamedTuple):
    """What is clustered in one step.

    Attributes:
        number: [B] int64, number of each item among all items.
        source: [B] int64, index of its data set.
        step: how often this loss has been computed, this time included.
    """

    number: Tensor
    source: Tensor
    step: int


class Found(NamedTuple):
    """The outcome of one step.

    Attributes:
        loss: scalar.
        cluster: [B], the nearest prototype to each item's first crop, of the first head.
    """

    loss: Tensor
    cluster: Tensor


class Clusters(OnHost, ABC):
    """A set of prototypes and the loss by which items are assigned to them.

    Attributes:
        prototypes: [H, K, E].
    """

    prototypes: nn.Parameter

    def __init__(self, level: Level, heads: int, width: int) -> None:
        super().__init__()
        drawn = torch.randn(heads, level.prototypes, width)
        self.prototypes = nn.Parameter(normalize(drawn, dim=2))

    @abstractmethod
    def forward(self, crops: Sequence[Tensor], items: Items, generator: Generator) -> Found:
        """The loss of one step.

        Args:
            crops: [B, E] unit embeddings of each crop, the two that are assigned first.
        """

    @abstractmethod
    def remember(self, crops: Sequence[Tensor], items: Items) -> None:
        """Keep a step's embeddings, once its gradients are used."""


class SwavClusters(Clusters):
    """Each of two crops is assigned online, evenly over prototypes; all others predict that.

    Args:
        sources: G.
    """

    on_host = ("filled",)
    queue: Tensor
    queue_source: Tensor
    filled: Tensor

    def __init__(
        self, level: Level, settings: Swav, temperature: float, width: int, sources: int
    ) -> None:
        super().__init__(level, 1, width)
        self.apart = sources if level.balance == "data_set" else 0
        self.level, self.settings, self.temperature = level, settings, temperature
        self.register_buffer("queue", torch.zeros(ASSIGNED, level.queue, width))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        if self.apart:
            self.register_buffer("queue_source", torch.zeros(level.queue, dtype=torch.int64))

    def forward(self, crops: Sequence[Tensor], items: Items, generator: Generator) -> Found:
        """See `Clusters`; the generator is not used."""
        weight: Tensor = self.prototypes[0]
        if items.step <= self.level.freeze_steps:
            weight = weight.detach()
        scores = [crop @ weight.T for crop in crops]
        targets = [
            self._assign(crop, scores[crop], weight.detach(), items.source)
            for crop in range(ASSIGNED)
        ]
        return Found(swav_loss(scores, targets, self.temperature), scores[0].argmax(1))

    @torch.no_grad()
    def _assign(self, crop: int, scores: Tensor, weight: Tensor, source: Tensor) -> Tensor:
        """[B, K] of a batch's scores [B, K], together with those of the queue once it is full."""
        together, groups = scores.detach(), None
        joins = self.level.queue and int(self.filled) >= self.level.queue
        if joins:
            together = torch.cat([self.queue[crop] @ weight.T, together])
        if self.apart:
            every = torch.cat([self.queue_source, source]) if joins else source
            groups = one_hot(every, self.apart).float()
        found = sinkhorn(together, self.settings.epsilon, self.settings.iterations, groups)
        return found[-len(scores) :]

    @torch.no_grad()
    def remember(self, crops: Sequence[Tensor], items: Items) -> None:
        """Prototypes back to length 1; the batch goes to the head of the queue."""
        step = items.step
        if step > self.level.freeze_steps:
            self.prototypes.copy_(normalize(self.prototypes, dim=2))
        length = self.level.queue
        if length and step > self.settings.queue_from:
            fresh = torch.stack([crop.detach() for crop in crops[:ASSIGNED]])
            self.queue.copy_(torch.cat([fresh, self.queue], dim=1)[:, :length])
            if self.apart:
                self.queue_source.copy_(torch.cat([items.source, self.queue_source])[:length])
            self.filled += fresh.shape[1]


class DeepClusters(Clusters):
    """Each item has one label per head, found by k-means; all its crops predict it.

    The memory holds one embedding of every item for each of two crops; head h clusters that of crop
    h mod 2.
    """

    memory: Tensor
    known: Tensor
    label: Tensor

    def __init__(
        self,
        level: Level,
        settings: DeepCluster,
        temperature: float,
        width: int,
        items: int,
        drift: bool,
    ) -> None:
        super().__init__(level, level.heads, width)
        self.prototypes.requires_grad_(drift)
        self.level, self.settings, self.temperature = level, settings, temperature
        self.register_buffer("memory", torch.zeros(ASSIGNED, items, width))
        self.register_buffer("known", torch.zeros(items, dtype=torch.bool))
        self.register_buffer("label", torch.full((level.heads, items), UNKNOWN))

    def forward(self, crops: Sequence[Tensor], items: Items, generator: Generator) -> Found:
        """See `Clusters`; until the memory is filled the loss is 0."""
        number, step = items.number, items.step
        after = step - self.settings.fill_steps - 1
        if after >= 0 and after % self.settings.every == 0:
            self._cluster(generator)
        weight: Tensor = self.prototypes
        if step <= self.level.freeze_steps:
            weight = weight.detach()
        scores = torch.einsum("vbe,hke->hvbk", torch.stack(list(crops)), weight)
        wanted = self.label[:, number]
        known = (wanted != UNKNOWN).sum() * len(crops)
        total = cross_entropy(
            (scores / self.temperature).flatten(0, 2),
            wanted.unsqueeze(1).expand(-1, len(crops), -1).flatten(),
            ignore_index=UNKNOWN,
            reduction="sum",
        )
        return Found(total / known.clamp_min(1), scores[0, 0].argmax(1))

    @torch.no_grad()
    def _cluster(self, generator: Generator) -> None:
        """New centroids and labels from the memory, if there is anything in it."""
        known = self.known.nonzero().squeeze(1)
        if not len(known):
            return
        for head in range(self.level.heads):
            rows = self.memory[head % ASSIGNED, known]
            start = first_centroids(rows, self.level.prototypes, generator)
            label, found = spherical_kmeans(rows, start, self.settings.iterations)
            self.label[head].fill_(UNKNOWN)[known] = label
            self.prototypes[head].copy_(found)

    @torch.no_grad()
    def remember(self, crops: Sequence[Tensor], items: Items) -> None:
        """The batch goes to the memory."""
        for crop in range(ASSIGNED):
            self.memory[crop, items.number] = crops[crop].detach()
        self.known[items.number] = True
