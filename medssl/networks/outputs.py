"""What a segmentation network's channels say: which class a voxel is, or which regions hold it.

A network of K classes answers with K logits, whose softmax is the probability of each. One of R
regions (unions of labels, see `medssl.data.regions`) answers with R logits z, and the sigmoid of
each is the probability that the region holds the voxel. From these follow logits of the labels:
s_k = sum of z_r over the regions that hold label k, and 0 for the background. Their softmax is what
the R sigmoids say of a voxel, given that its regions are together those of one label. Where the
regions with z > 0 are those of a label, it is the label with the largest s.

Legend: B items, C channels (K classes, background first, or R regions), X Y Z voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from medssl.data.regions import Region

TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Outputs:
    """The channels of a network.

    Attributes:
        classes: names of the classes of masks, background first.
        regions: what is learnt in place of them, in the order of writing; empty: the classes.
    """

    classes: tuple[str, ...]
    regions: tuple[Region, ...] = ()
    _inside: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        inside = torch.zeros(len(self.classes), len(self.regions))
        for number, region in enumerate(self.regions):
            inside[list(region.classes), number] = 1
        object.__setattr__(self, "_inside", inside)

    @property
    def names(self) -> tuple[str, ...]:
        """Of each channel."""
        return tuple(region.name for region in self.regions) or self.classes

    @property
    def count(self) -> int:
        """Of channels."""
        return len(self.names)

    def as_classes(self, logits: Tensor) -> Tensor:
        """Logits [B, K, X, Y, Z] of the classes, of logits [B, C, X, Y, Z]; as given of classes."""
        if not self.regions:
            return logits
        inside = self._inside.to(logits)
        return torch.einsum("kr,br...->bk...", inside, logits)

    def targets(self, label: Tensor) -> Tensor:
        """What a loss compares logits with: class indices as given, or which regions hold them.

        Args:
            label: [B, X, Y, Z] class indices.

        Returns:
            [B, X, Y, Z] as given; of regions [B, R, X, Y, Z] bool.
        """
        if not self.regions:
            return label
        inside = self._inside.to(label.device).bool()
        return inside[label.long()].movedim(-1, 1)

    def probabilities(self, logits: Tensor, dim: int = 1) -> Tensor:
        """Of logits, along the channels `dim`: softmax, or of regions sigmoid."""
        return logits.sigmoid() if self.regions else logits.softmax(dim)

    def logits(self, probabilities: Tensor) -> Tensor:
        """Logits whose `probabilities` are those given; none is infinite."""
        if not self.regions:
            return probabilities.clamp_min(TINY).log()
        bounded = probabilities.clamp(TINY, 1 - torch.finfo(probabilities.dtype).eps)
        return bounded.logit()

    def log(self, logits: Tensor, dim: int = 1) -> Tensor:
        """As an ensemble keeps each member's answer: log-probabilities, or logits of regions."""
        return logits if self.regions else logits.log_softmax(dim)

    def mean(self, logs: Tensor) -> Tensor:
        """Logits whose probabilities are the mean over the first dimension; see `log`."""
        if not self.regions:
            return logs.logsumexp(0) - torch.tensor(float(len(logs))).log().to(logs)
        return logsigmoid(logs).logsumexp(0) - logsigmoid(-logs).logsumexp(0)

    def labels(self, logits: Tensor) -> Tensor:
        """[X, Y, Z] uint8 class indices, of logits [C, X, Y, Z].

        The likeliest class; of regions those that hold the voxel, written one after the other.
        """
        if not self.regions:
            return logits.argmax(0).to(torch.uint8)
        label = torch.zeros(logits.shape[1:], dtype=torch.uint8, device=logits.device)
        for one, region in zip(logits, self.regions, strict=True):
            label[one > 0] = region.written
        return label

    def entropy(self, probabilities: Tensor, floor: float) -> Tensor:
        """Entropy [B, X, Y, Z] in nats, of probabilities [B, C, X, Y, Z]; the sum over regions."""
        found = -(probabilities * (probabilities + floor).log()).sum(1)
        if self.regions:
            rest = 1 - probabilities
            found = found - (rest * (rest + floor).log()).sum(1)
        return found

    @property
    def most_entropy(self) -> float:
        """The greatest possible, in nats."""
        return len(self.regions) * log(2) if self.regions else log(len(self.classes))

    def of_classes(self, probabilities: Tensor) -> Tensor:
        """Probabilities [K, X, Y, Z] of the classes, of those of the channels [C, X, Y, Z]."""
        if not self.regions:
            return probabilities
        return self.as_classes(self.logits(probabilities)[None])[0].softmax(0)

    @property
    def disjoint(self) -> Tensor:
        """[R, R] bool: which regions share no label."""
        return (self._inside.T @ self._inside) == 0


def plain(classes: Sequence[str]) -> Outputs:
    """Channels that are classes."""
    return Outputs(tuple(classes))
