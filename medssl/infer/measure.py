"""What a predicted mask measures, and how much the network doubts it.

The doubt of a case is the mean entropy (0 sure, 1 no idea) over what is marked and the two voxels
around it: where a correction would be made. Far background, which a network is sure of, would only
say how much of it a scan shows. Of a mask that marks nothing it is that of the place with the
greatest entropy.

Legend: X Y Z voxels, K classes with background first, M networks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import ndimage

from medssl.atomic import write_text
from medssl.data.csv_table import table_text
from medssl.infer.guard import Verdict
from medssl.infer.postprocess import TOUCHING

AROUND = 2
"""Voxels around a mask in which it is doubted."""


_CM2 = 100  # mm2

_ENDS = ("", "_low", "_high")


@dataclass(frozen=True)
class Measured:
    """The numbers of one predicted case.

    Attributes:
        doubt: 0 to 1, see above.
        voxels: of each foreground class, in the order of the classes.
        voxel: what a voxel counts, in `unit`.
        unit: "ml"; of pictures "mm2", or "pixels" where the file does not say how large one is.
        members: the same as `voxels` of each network by itself; empty where there is one network.
        factors: by which the size of each class may be off, 19 times in 20, as cases showed that
            were left out of training; None: not known of that class. Empty: of none.
        verdict: how unlike the training scans it is; None where that is not known.
    """

    doubt: float
    voxels: tuple[int, ...]
    voxel: float
    members: tuple[tuple[int, ...], ...] = ()
    verdict: Verdict | None = None
    unit: str = "ml"
    factors: tuple[float | None, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the mask marks nothing."""
        return not any(self.voxels)

    def size(self, index: int) -> float:
        """Volume or area of a foreground class, in `unit`."""
        return self.voxels[index] * self.voxel

    def interval(self, index: int) -> tuple[float, float] | None:
        """The 95 % interval of its size by `factors`, in `unit`; None where nothing is marked.

        Without factors the least and the greatest size that any of the networks gives it.
        """
        counts = self.counts(index)
        return counts and (counts[0] * self.voxel, counts[1] * self.voxel)

    def counts(self, index: int) -> tuple[float, float] | None:
        """The same in voxels or pixels."""
        if self.factors:
            size, factor = self.voxels[index], self.factors[index]
            return (size / factor, size * factor) if factor and size else None
        if not self.members:
            return None
        counts = [one[index] for one in (*self.members, self.voxels)]
        return min(counts), max(counts)

    def unlike(self, limit: float | None) -> tuple[str, ...]:
        """In what it is unlike the training scans, beyond the limit of a guard."""
        known = limit is not None and self.verdict is not None
        return self.verdict.unlike(limit) if known else ()  # type: ignore[union-attr, arg-type]

    def to_plain(self) -> dict[str, Any]:
        """The measures as values that JSON knows."""
        return {
            "doubt": self.doubt,
            "voxels": list(self.voxels),
            "voxel": self.voxel,
            "unit": self.unit,
            "members": [list(one) for one in self.members],
            "factors": list(self.factors),
            **({"guard": self.verdict.to_plain()} if self.verdict else {}),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_plain` gave; KeyError, TypeError or ValueError where it is something else."""
        return cls(
            float(plain["doubt"]),
            tuple(int(count) for count in plain["voxels"]),
            float(plain["voxel"]),
            tuple(tuple(int(count) for count in one) for one in plain["members"]),
            Verdict.from_plain(plain),
            str(plain["unit"]),
            tuple(None if one is None else float(one) for one in plain.get("factors", ())),
        )

    def said(self, index: int) -> str:
        """The size of a foreground class in words, e.g. "1.2 ml (1.1 to 1.4)"."""
        span = self.interval(index)
        large = self.unit == "mm2" and max(self.size(index), *(span or (0,))) >= _CM2
        by, unit = (_CM2, "cm²") if large else (1, "mm²" if self.unit == "mm2" else self.unit)
        between = f" ({self._said(span[0] / by)} to {self._said(span[1] / by)})" if span else ""
        return f"{self._said(self.size(index) / by)} {unit}{between}"

    def _said(self, size: float) -> str:
        """A size by its first three digits, but all digits of pixels; without an exponent."""
        return f"{size:.0f}" if self.unit == "pixels" else f"{float(f'{size:.3g}'):.15g}"


def measure(
    labels: np.ndarray,
    entropy: np.ndarray,
    spacing: tuple[float, float, float],
    classes: int,
    members: Iterable[np.ndarray] = (),
    verdict: Verdict | None = None,
    picture: bool = False,
    factors: Sequence[float | None] = (),
) -> Measured:
    """Volumes, or areas in pictures, and doubt of one case.

    Args:
        labels: [X, Y, Z] uint8 class indices.
        entropy: [X, Y, Z] in 0..1.
        spacing: sides of a voxel, mm; of a picture 1 where they are not known.
        classes: K.
        members: labels of each network by itself, where there are several.
        verdict: of a guard.
        picture: whether the case is a 2-D image, whose pixels have no third side.
        factors: by which sizes may be off, see `Measured`.
    """

    def counted(found: np.ndarray) -> tuple[int, ...]:
        return tuple(np.bincount(found.ravel(), minlength=classes)[1:].tolist())

    apart = tuple(counted(one) for one in members)
    x, y, z = spacing
    voxel = x * y if picture else x * y * z / 1000
    unit = unit_of(spacing, picture)
    return Measured(
        _doubt(labels, entropy), counted(labels), voxel, apart, verdict, unit, tuple(factors)
    )


def unit_of(spacing: tuple[float, float, float], picture: bool) -> str:
    """In what the sizes of masks are said: "ml"; of pictures "mm2", or "pixels" of unknown size."""
    if not picture:
        return "ml"
    return "pixels" if spacing[:2] == (1, 1) else "mm2"


def _doubt(labels: np.ndarray, entropy: np.ndarray) -> float:
    marked = labels > 0
    if not marked.any():
        marked = np.zeros(labels.shape, bool)
        marked[np.unravel_index(int(entropy.argmax()), entropy.shape)] = True
    box = tuple(
        slice(max(0, one.start - AROUND), one.stop + AROUND)
        for one in ndimage.find_objects(marked.astype(np.uint8))[0]
    )
    near = ndimage.binary_dilation(marked[box], TOUCHING, iterations=AROUND)
    return round(float(entropy[box][near].mean(dtype=np.float64)), 6)


def ranked(
    cases: Mapping[str, Measured], empty_masks: bool | None, limit: float | None = None
) -> list[str]:
    """Cases in the order in which they should be looked at: the most doubtful first.

    Args:
        empty_masks: whether a training mask was empty; where none was, empty ones come before all.
        limit: of a guard; scans beyond it come next, as a network may be sure where it is wrong.
    """

    def place(name: str) -> tuple[Any, ...]:
        one = cases[name]
        return empty_masks or not one.empty, not one.unlike(limit), -one.doubt, name

    return sorted(cases, key=place)


def write_volumes(
    path: Path,
    cases: Mapping[str, Measured],
    labels: Sequence[tuple[int, str]],
    empty_masks: bool | None,
    limit: float | None = None,
) -> None:
    """Write a row per case and structure, the most doubtful cases first.

    Pictures have areas in place of volumes, and their pixels are counted, as their size may not be
    known.

    Args:
        labels: value and name of each foreground class.
        limit: of a guard; None: there is none, and its columns stay empty.
    """
    pictures = any(one.unit != "ml" for one in cases.values())
    unit, counted = ("mm2", [f"pixels{end}" for end in _ENDS]) if pictures else ("ml", ["voxels"])
    head = ["rank", "case", "doubt", "value", "structure", *counted, *(unit + e for e in _ENDS)]
    head += ["unlike_training", "guard_score", "guard_limit"]
    rows = []
    for rank, name in enumerate(ranked(cases, empty_masks, limit), start=1):
        one = cases[name]
        for index, (value, structure) in enumerate(labels):
            sizes = one.size(index), *(one.interval(index) or (None, None))
            known = one.unit == unit
            between = one.counts(index)
            ends = [round(end) for end in between] if between else [None, None]
            counts = [one.voxels[index], *ends][: len(counted)]
            numbers = *counts, *(_short(size) if known else None for size in sizes)
            rows.append([rank, name, one.doubt, value, structure, *numbers, *_guarded(one, limit)])
    write_text(path, table_text(head, rows))


def _guarded(one: Measured, limit: float | None) -> list[Any]:
    if limit is None or one.verdict is None:
        return [None, None, None]
    return [" and ".join(one.unlike(limit)), round(one.verdict.score, 3), round(limit, 3)]


def _short(size: float | None) -> float | None:
    return None if size is None else float(f"{size:.6g}")
