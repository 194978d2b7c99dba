"""What of given weights fits a network: by name and shape, never by order."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass(frozen=True)
class LoadReport:
    """What of a weights file went where.

    Attributes:
        matched: parameters that were loaded.
        missing: parameters of the network that the file lacks.
        misshapen: parameters that the file holds in another shape.
        unexpected: what the file holds and the network lacks, such as a head.
        share: of the network's scalars that count, those that were loaded.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    unexpected: tuple[str, ...]
    share: float

    @classmethod
    def of(
        cls, own: Mapping[str, Tensor], found: Mapping[str, Tensor], counted: Collection[str]
    ) -> Self:
        """Compare a network's own tensors with those found; `counted` are names of `own`."""
        common = [name for name in own if name in found]
        matched = tuple(name for name in common if own[name].shape == found[name].shape)
        total = sum(own[name].numel() for name in counted)
        return cls(
            matched,
            missing=tuple(name for name in own if name not in found),
            misshapen=tuple(name for name in common if name not in set(matched)),
            unexpected=tuple(name for name in found if name not in own),
            share=sum(own[name].numel() for name in matched if name in counted) / total,
        )

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.share:.1%} of the parameters matched ({len(self.matched)} tensors), "
            f"{len(self.missing)} missing, {len(self.misshapen)} of another shape, "
            f"{len(self.unexpected)} unexpected"
        )
