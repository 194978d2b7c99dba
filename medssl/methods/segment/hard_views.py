"""Hard views of patches: boxes cut out or pasted, at anchors or anywhere, and blends.

Source: MultiAugs (Zhou et al., arXiv 2402.11566), sheet sections 2 and 5, without the exchanged
axes of its release (section 4). Tissue that is pasted brings what is said of it along; what is cut
out is to be answered as if it were there.

Legend: B items, C channels, X Y Z voxels, N anchors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor

from medssl.data.patches import Box
from medssl.methods.segment.cutmix import numpy_generator
from medssl.methods.segment.strong_view import strong_view
from medssl.methods.settings.multi_augs import Boxes, Settings


@dataclass(frozen=True)
class Views:
    """Patches, and what is said of their voxels.

    Attributes:
        image: [B, C, X, Y, Z].
        target: [B, K, X, Y, Z].
        counts: [B, 1, X, Y, Z], 1 where a voxel is taught.
    """

    image: Tensor
    target: Tensor
    counts: Tensor

    @property
    def maps(self) -> tuple[Tensor, Tensor, Tensor]:
        """All three."""
        return self.image, self.target, self.counts

    def copy(self) -> "Views":
        """With values of its own."""
        return Views(*(one.clone() for one in self.maps))


def hard_view(
    path: str,
    easy: Views,
    anchors: Sequence[np.ndarray],
    chosen: Settings,
    generator: Generator,
) -> Views:
    """One hard view of every patch; `easy` stays as it is.

    A batch of one patch has none to paste from: what would be pasted is cut out.

    Args:
        path: one of `Settings.paths`.
        anchors: [N, 3] of each patch; where there are none, boxes lie anywhere.
    """
    rng = numpy_generator(generator)
    if path == "intensity":
        return replace(easy, image=strong_view(easy.image, chosen.strong, generator))
    if path == "mu":
        return _blended(easy, chosen, rng)
    steps = {
        "jc": partial(_cut, boxes=chosen.boxes, rng=rng, anchors=anchors),
        "jo": partial(_pasted_at_anchors, boxes=chosen.boxes, rng=rng, anchors=anchors),
        "co": partial(_cut, boxes=chosen.boxes, rng=rng, anchors=None),
        "cm": partial(_pasted, boxes=chosen.boxes, rng=rng),
    }
    view = easy.copy()
    for name in (path[start : start + 2] for start in range(0, len(path), 2)):
        steps[name](view)
    return view


def halves(shape: Sequence[int], boxes: Boxes, rng: np.random.Generator) -> np.ndarray:
    """[3]: half of the sides of a box, in voxels; one share for all of them."""
    return np.maximum(1, np.round(rng.uniform(*boxes.half) * np.array(shape))).astype(int)


def box_at(centre: np.ndarray, half: np.ndarray, shape: Sequence[int]) -> Box:
    """The voxels within `half` of `centre`, as far as they are in the patch; a flat axis whole."""
    at = np.round(centre).astype(int)
    spans = (
        slice(max(0, c - h), max(0, min(side, c + h + 1))) if side > 1 else slice(0, 1)
        for c, h, side in zip(at.tolist(), half.tolist(), shape, strict=True)
    )
    x, y, z = spans
    return x, y, z


def _anywhere(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    return np.array([rng.integers(side) for side in shape])


def _near(
    anchors: np.ndarray | None, shape: Sequence[int], boxes: Boxes, rng: np.random.Generator
) -> np.ndarray:
    """A place near an anchor, or anywhere where there is none."""
    if anchors is None or not len(anchors):
        return _anywhere(shape, rng)
    jitter = rng.normal(0, boxes.jitter, 3) * np.array(shape)
    found: np.ndarray = anchors[rng.integers(len(anchors))] + jitter
    return found.clip(0, np.array(shape) - 1)


def _cut(
    view: Views, boxes: Boxes, rng: np.random.Generator, anchors: Sequence[np.ndarray] | None
) -> None:
    shape = view.image.shape[2:]
    count = boxes.cut if anchors is None else boxes.cut_at_anchors
    for item in range(len(view.image)):
        own = None if anchors is None else anchors[item]
        for _ in range(count):
            half = halves(shape, boxes, rng)
            box = box_at(_near(own, shape, boxes, rng), half, shape)
            view.image[(item, slice(None), *box)] = 0


def _pasted_at_anchors(
    view: Views, boxes: Boxes, rng: np.random.Generator, anchors: Sequence[np.ndarray]
) -> None:
    shape, items = view.image.shape[2:], len(view.image)
    given = view.copy()
    for item in range(items):
        for _ in range(boxes.pasted_at_anchors):
            half = halves(shape, boxes, rng)
            to = _near(anchors[item], shape, boxes, rng)
            if items == 1:
                view.image[(item, slice(None), *box_at(to, half, shape))] = 0
                continue
            donor = (item + 1 + int(rng.integers(items - 1))) % items
            source = _near(anchors[donor], shape, boxes, rng)
            _paste(view, item, given, donor, to, source, half)


def _paste(
    view: Views,
    item: int,
    given: Views,
    donor: int,
    to: np.ndarray,
    source: np.ndarray,
    half: np.ndarray,
) -> None:
    """The box around `source` of a donor, put around `to`; as much as is inside both patches."""
    shape = view.image.shape[2:]
    there, here = list[slice](), list[slice]()
    places = zip(np.round(to), np.round(source), half, shape, strict=True)
    for a, b, h, side in places:
        if side == 1:
            here.append(slice(0, 1))
            there.append(slice(0, 1))
            continue
        low = int(max(-h, -a, -b))
        high = int(min(h, side - 1 - a, side - 1 - b)) + 1
        here.append(slice(int(a) + low, int(a) + high))
        there.append(slice(int(b) + low, int(b) + high))
    (x, y, z), (u, v, w) = here, there
    for one, other in zip(view.maps, given.maps, strict=True):
        one[item, :, x, y, z] = other[donor, :, u, v, w]


def _pasted(view: Views, boxes: Boxes, rng: np.random.Generator) -> None:
    shape, items = view.image.shape[2:], len(view.image)
    given, shift = view.copy(), int(rng.integers(1, items)) if items > 1 else 0
    for item in range(items):
        for _ in range(boxes.pasted):
            half = halves(shape, boxes, rng)
            box = box_at(_anywhere(shape, rng), half, shape)
            if items == 1:
                view.image[(item, slice(None), *box)] = 0
                continue
            donor = (item + shift) % items
            for one, other in zip(view.maps, given.maps, strict=True):
                one[(item, slice(None), *box)] = other[(donor, slice(None), *box)]


def _blended(easy: Views, chosen: Settings, rng: np.random.Generator) -> Views:
    """Each patch with a share of the next one; taught where both are."""
    parameter, least = chosen.blend
    own = max(float(rng.beta(parameter, parameter)), least)
    if len(easy.image) == 1:
        return easy
    image, target = (own * one + (1 - own) * one.roll(1, 0) for one in (easy.image, easy.target))
    return Views(image, target, torch.minimum(easy.counts, easy.counts.roll(1, 0)))
