"""Self-training: rounds of pseudo-labels by the network of the round before.

Sources: Yarowsky, ACL 1995; sheet of tri-training, sections 1, 3 and 4. See
`medssl.methods.segment.rounds` for what is classically otherwise.

Legend: B items, K classes, X Y Z voxels.
"""

import torch
from torch import Generator, Tensor

from medssl.data.batch import Batch
from medssl.methods.method import Progress, Task
from medssl.methods.segment.labelled_loss import OnLabels
from medssl.methods.segment.losses import over_heads, region_loss, supervised_loss
from medssl.methods.segment.partial import streams, teachable
from medssl.methods.segment.rounds import InRounds, ramp
from medssl.methods.settings.self_training import Settings
from medssl.networks.heads import heads_of


def sure_labels(probability: Tensor, foreground: float, background: float) -> tuple[Tensor, Tensor]:
    """Labels [B, X, Y, Z] of probabilities [B, K, X, Y, Z], and where they are sure enough."""
    confidence, label = probability.max(1)
    least = torch.where(label > 0, foreground, background)
    return label, confidence >= least


class SelfTraining(InRounds):
    """One network, taught by itself as it was when the last round ended."""

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__(task, seed, 1, settings.rounds, settings.warm)
        self.settings = settings
        self.on_labels = OnLabels(supervised_loss, task)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """The loss on labels; after the first round also on pseudo-labels that are sure enough."""
        number, within = self.begin(progress)
        chosen, labelled, network = self.settings, batches["labelled"], self.members[0]
        heads = heads_of(network, labelled.image[:, 0])
        terms = {"supervised": self.on_labels(heads, labelled, progress)}
        if weight := ramp(number, within, chosen.weight, chosen.rampup):
            _, unlabelled = streams(batches)
            image = unlabelled.image[:, 0]
            (said,) = self.said(image)
            label, sure = sure_labels(
                said, chosen.threshold_foreground, chosen.threshold_background
            )
            taught = self.task.outputs.targets(label), sure & teachable(unlabelled)
            terms["pseudo"] = weight * over_heads(heads_of(network, image), region_loss, *taught)
        return terms
