"""CLAM: gated attention, whose most and least attended patches are told apart by small classifiers.

Source: Lu et al., Nature Biomedical Engineering 2021 (arXiv 2004.09666), and its release.

Legend: N patches, E features, W width, K classes, A attentions (1 or K), k clustered patches.
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from medssl.data.bags.bag import BagBatch
from medssl.methods.method import BagPrediction, BagTask
from medssl.methods.settings.clam import Settings
from medssl.methods.slide.outputs import OneNetworkHead, refuse_empty
from medssl.networks.attention_pool import AttentionScores


class Attended(NamedTuple):
    """Embedded patches [N, W], attention [A, N] that sums to 1 over N, and bag logits [K]."""

    rows: Tensor
    attention: Tensor
    logits: Tensor


def smooth_top1_svm(logits: Tensor, labels: Tensor) -> Tensor:
    """Smooth top-1 SVM with margin 1 and temperature 1: logits [m, K], labels [m] to the mean.

    log sum_j exp(s_j + [j != y] - s_y) (Berrada et al., ICLR 2018).
    """
    margins = 1 - functional.one_hot(labels, logits.shape[1]).to(logits)
    right = logits.gather(1, labels.unsqueeze(1))
    return (logits + margins - right).logsumexp(1).mean()


class ClamNetwork(nn.Module):
    """First layer, gated attention, bag classifiers, and one patch classifier for each class."""

    def __init__(self, settings: Settings, width: int, classes: int) -> None:
        super().__init__()
        attentions = 1 if settings.branches == "single" else classes
        self.embed = nn.Sequential(
            nn.Linear(width, settings.embed_width), nn.ReLU(), nn.Dropout(settings.dropout)
        )
        self.scores = AttentionScores(
            settings.embed_width, settings.hidden, attentions, gated=True, dropout=settings.dropout
        )
        self.readouts = nn.ModuleList(
            nn.Linear(settings.embed_width, classes // attentions) for _ in range(attentions)
        )
        self.instances = nn.ModuleList(nn.Linear(settings.embed_width, 2) for _ in range(classes))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def attend(self, features: Tensor) -> Attended:
        """Features [N, E] to the bag's logits."""
        refuse_empty(features)
        rows = self.embed(features)
        attention = self.scores(rows).float().softmax(0).mT
        pooled = attention @ rows.float()
        logits = torch.cat(
            [readout(bag) for readout, bag in zip(self.readouts, pooled, strict=True)]
        )
        return Attended(rows, attention, logits)

    def forward(self, features: Tensor) -> BagPrediction:
        """Features [N, E] to the bag's softmax and the attention of the answered class."""
        found = self.attend(features)
        probability = found.logits.float().softmax(0)
        branch = int(probability.argmax()) if len(found.attention) > 1 else 0
        return BagPrediction(probability, None, found.attention[branch])


class Clam(OneNetworkHead[ClamNetwork]):
    """Learns the bag's label, and pseudo-labels of the patches that attention itself points at."""

    def build(self, settings: Settings, task: BagTask) -> ClamNetwork:
        """The network of a task."""
        return ClamNetwork(settings, task.width, len(task.classes))

    def losses(self, bag: BagBatch, generator: Generator) -> dict[str, Tensor]:
        """Cross-entropy of the bag and the loss of the clusters, weighted."""
        weight = self.settings.bag_weight
        found = self.network.attend(bag.features)
        return {
            "bag": weight * functional.cross_entropy(found.logits.float(), bag.label),
            "clusters": (1 - weight) * self.clusters(found, bag.truth),
        }

    def clusters(self, found: Attended, label: int | None) -> Tensor:
        """Loss of the patch classifiers; zero for a bag of one patch, which has no two ends.

        The label's classifier shall call the k most attended patches 1 and the k least attended 0.
        If classes exclude each other, the others' shall call their most attended patches 0, and the
        sum is divided by K.
        """
        count = min(self.settings.patches, len(found.rows) // 2)
        if count == 0:
            return found.rows.new_zeros(())
        total = found.rows.new_zeros(())
        for index, classifier in enumerate(self.network.instances):
            if index != label and not self.settings.subtyping:
                continue
            attention = found.attention[index if len(found.attention) > 1 else 0]
            chosen = attention.topk(count).indices
            target = torch.full_like(chosen, int(index == label))
            if index == label:
                chosen = torch.cat([chosen, (-attention).topk(count).indices])
                target = torch.cat([target, torch.zeros_like(target)])
            total = total + self._patch_loss(classifier(found.rows[chosen]).float(), target)
        return total / len(self.network.instances) if self.settings.subtyping else total

    def _patch_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.settings.instance_loss == "svm":
            return smooth_top1_svm(logits, target)
        return functional.cross_entropy(logits, target)
