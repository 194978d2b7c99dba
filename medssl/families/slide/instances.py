"""What a trained classifier says of single instances: tiles of a heat map, keys of a bag.

Legend: N instances, K classes.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from medssl.data.bags.bag import BagSource
from medssl.data.slide.annotation_files import read_annotation
from medssl.data.slide.bag import FeatureBag
from medssl.data.spec import Case
from medssl.evaluate.classification import patch_auc
from medssl.evaluate.froc import Hits, detections_from_tiles, froc_curve, froc_score, hits
from medssl.evaluate.lesions import Lesions
from medssl.evaluate.score import Score
from medssl.families.slide.bags import SlideBag, instance_labels


@dataclass(frozen=True)
class InstanceScores:
    """Scores of one bag's instances, higher for the classes that are not the negative one.

    Attributes:
        kind: "probability" of the instance, or "attention" where a method gives no probability.
        values: [N] in [0, 1]; attention is divided by its largest value.
    """

    kind: str
    values: np.ndarray


@torch.no_grad()
def instance_scores(head: nn.Module, bag: BagSource, device: torch.device) -> InstanceScores | None:
    """Of every instance of a bag; None where the method says nothing of instances."""
    features = torch.from_numpy(np.asarray(bag.features, np.float32)).to(device)
    found = head.eval()(features)
    if found.instances is not None:
        positive = found.instances[:, 1:].amax(1)
        return InstanceScores("probability", positive.float().cpu().numpy())
    if found.attention is not None:
        attention = found.attention.float().cpu().numpy()
        return InstanceScores("attention", attention / max(float(attention.max()), 1e-12))
    return None


@dataclass
class InstanceRecord:
    """How well the instances of bags with instance labels are found.

    Attributes:
        top: how many instances of a bag count as selected.
        values, labels: [N] of each bag.
        hits: detections against lesions, of slides that are drawn upon or free of tumour.
    """

    top: int
    values: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    hits: list[Hits] = field(default_factory=list)

    def add(self, case: Case, bag: SlideBag, head: nn.Module, device: torch.device) -> None:
        """Take one held-out bag, if anything is known of its instances."""
        truth = instance_labels(case, bag)
        found = None if truth is None else instance_scores(head, bag, device)
        if found is None or truth is None:
            return
        self.values.append(found.values)
        self.labels.append(truth)
        if isinstance(bag, FeatureBag):
            detections = detections_from_tiles(bag.places, bag.span, found.values)
            self.hits.append(hits(detections, _lesions(case, bag)))

    def scores(self) -> list[tuple[str, Score]]:
        """What there is to say, with its name for people."""
        if not self.values:
            return []
        named = [("area under the ROC curve over instances", patch_auc(self.values, self.labels))]
        keys = [
            np.isin(np.flatnonzero(truth), np.argsort(-values, kind="stable")[: self.top])
            for values, truth in zip(self.values, self.labels, strict=True)
        ]
        if sum(map(len, keys)):
            share = float(np.concatenate(keys).mean())
            named.append(
                (f"positive instances among the first {self.top} of their bag", Score(share))
            )
        return named

    def flat(self) -> dict[str, float]:
        """The same as numbers by name for a tracker."""
        names = ("patch_auc", "keys_found")
        numbers = {
            name: score.value for name, (_, score) in zip(names, self.scores(), strict=False)
        }
        if any(len(one.lesions) for one in self.hits):
            numbers["froc"] = froc_score(froc_curve(self.hits))
        return numbers


def _lesions(case: Case, bag: FeatureBag) -> Lesions | None:
    """The targets of a slide; None for a slide without tumour."""
    drawn = case.extra["annotation"]
    if drawn is None:
        return None
    spacing = bag.header.mpp * bag.header.size / bag.span
    return Lesions.from_annotation(read_annotation(drawn), bag.slide_size, spacing)
