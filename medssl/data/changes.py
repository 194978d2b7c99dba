"""The random changes of a chain at work: on a box around all views of an item, then on each view.

Steps up to the last one that moves voxels act on the box, so views that overlap show the same
there; the steps after it act on each view alone, with the same draws. Steps are drawn by seeds,
each of its own, and a thread has transforms of its own: whoever makes an item makes the same.

Legend: V views, C channels, X Y Z voxels.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import local
from typing import Any, Self

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, RandomizableTransform
from torch import Tensor

from medssl.data.batch import Batch
from medssl.data.labels import IGNORED
from medssl.data.patches import Pose, Triple
from medssl.errors import UsageError
from medssl.transforms.catalogue import known_transforms
from medssl.transforms.chain import Augment
from medssl.transforms.compose import build
from medssl.transforms.linear import middle, plain
from medssl.transforms.moves import KNOWN, Size
from medssl.transforms.random_spatial import RandomMove, RandPosed
from medssl.transforms.reach import needed
from medssl.transforms.step import IMAGE, LABEL, Step, failure_told

Data = dict[Hashable, Any]


@dataclass(frozen=True)
class Box:
    """What holds all views of an item, before it is changed.

    Attributes:
        image: [C, X, Y, Z], as it is stored.
        mask: uint8 [1, X, Y, Z]; None where no label is read.
        sizes: of the box after each step that moves voxels; the last one is that of the views.
        views: where each view starts in the last box.
        seeds: of each step.
        start: where each view starts in the posed volume.
        case: name in messages.
        partial: whether voxels of its mask may be ignored.
        outlined: whether its mask outlines each class, background first; None: all of them.
    """

    image: Tensor
    mask: Tensor | None
    sizes: tuple[Size, ...]
    views: tuple[Triple, ...]
    seeds: tuple[int, ...]
    start: tuple[Triple, ...]
    case: str
    partial: bool = False
    outlined: tuple[bool, ...] | None = None

    def to(self, device: torch.device) -> Self:
        """The same box on `device`."""
        mask = None if self.mask is None else self.mask.to(device, non_blocking=True)
        return replace(self, image=self.image.to(device, non_blocking=True), mask=mask)


class Change:
    """One transform of a chain, which one thread uses."""

    def __init__(self, step: Step) -> None:
        self.step, self.name = step, step.name
        self.made: MapTransform = build(step)
        self._foreign = self.name not in known_transforms()
        self._state = np.random.RandomState()

    def draw_by(self, seed: int) -> None:
        """Let `seed` decide what is drawn next."""
        if not isinstance(self.made, Randomizable):
            return
        if self._foreign:
            self.made.set_random_state(seed=seed)
        else:  # to make a state takes 20 times as long as to seed it
            self._state.seed(seed)
            self.made.set_random_state(state=self._state)

    def needs(self, seed: int, patch: Size, size: Size) -> Size:
        """How large a box has to be cut, so that what is drawn fills `size` voxels without borders.

        Args:
            seed: of this transform, for this item.
            patch: sides of a view, which decide what is drawn.
            size: sides that have to be filled.

        Raises:
            UsageError: an argument does not fit so many axes.
        """
        self.draw_by(seed)
        if isinstance(self.made, RandomMove):
            self.made.randomize(patch)
            return self.made.needs(size)
        with failure_told(self.name):
            if isinstance(self.made, RandomizableTransform) and self.step.name in KNOWN:
                self.made.randomize(None)
                if not self.made._do_transform:
                    return size
            return needed(self.step, size)

    def move(self, data: Data, seed: int, patch: Size, size: Size) -> Data:
        """What the transform makes of a box, cut to its middle `size` voxels."""
        self.draw_by(seed)
        if isinstance(self.made, RandomMove):
            self.made.randomize(patch)
            return self.made.apply(data, size)
        changed = self._called(data)
        for key in data:
            if any(a < b for a, b in zip(changed[key].shape[1:], size, strict=True)):
                raise self._resizes(data[key], changed[key])
            changed[key] = middle(changed[key], size)
        return changed

    def change(self, data: Data, seed: int) -> Data:
        """What the transform makes of one view, whose size stays."""
        self.draw_by(seed)
        changed = self._called(data)
        for key in data:
            if changed[key].shape != data[key].shape:
                raise self._resizes(data[key], changed[key])
        return changed

    def _called(self, data: Data) -> Data:
        # Those of MONAI make one of a plain tensor where they need it, which takes its time.
        given = {key: MetaTensor(image) for key, image in data.items()} if self._foreign else data
        with failure_told(self.name):
            changed: Data = self.made(given)
        for key in data:
            if not isinstance(changed.get(key), Tensor) or changed[key].ndim != data[key].ndim:
                raise UsageError(f"the transform {self.name} drops the {key}", do="leave it out")
        return {key: plain(changed[key]) for key in data}

    def _resizes(self, before: Tensor, after: Tensor) -> UsageError:
        if len(before) != len(after):
            return UsageError(
                f"the transform {self.name} changes the number of channels",
                f"{len(before)} become {len(after)}",
                "leave it out; the data spec says how many channels there are",
            )
        shapes = ("x".join(map(str, one.shape[1:])) for one in (before, after))
        return UsageError(
            f"the transform {self.name} changes the size of patches",
            " becomes ".join(shapes),
            "leave it out; train.patch sets the size",
        )


class Changes:
    """The random changes of items of one patch size.

    Raises:
        UsageError: a transform refuses its arguments.
    """

    def __init__(self, chain: Augment, patch: Triple) -> None:
        self.chain, self.patch = chain, patch
        steps = chain.steps
        self._posed = bool(steps) and steps[0].name == "medssl:RandPosed"
        self._moving = max((n for n, step in enumerate(steps, 1) if step.moves), default=0)
        self._own = local()
        _ = self._changes

    @property
    def _changes(self) -> list[Change]:
        """The transforms of this thread."""
        if not hasattr(self._own, "changes"):
            self._own.changes = [Change(step) for step in self.chain.steps]
        found: list[Change] = self._own.changes
        return found

    def seeds(self, *by: int) -> tuple[int, ...]:
        """A seed for each transform of the chain, derived from the numbers in `by`."""
        drawn = np.random.SeedSequence(by).generate_state(max(1, len(self.chain.steps)))
        return tuple(int(one) for one in drawn)

    def pose(self, seeds: Sequence[int]) -> Pose:
        """The quarter turns and flip of a whole volume, where such a transform leads the chain."""
        if not self._posed:
            return Pose()
        first = self._changes[0]
        first.draw_by(seeds[0])
        posed = first.made
        if not isinstance(posed, RandPosed):
            raise TypeError("the first transform is no pose")
        posed.randomize()
        return posed.pose

    def sizes(self, seeds: Sequence[int], size: Triple, planar: bool) -> tuple[Size, ...]:
        """Sides of the box before the first transform that moves voxels and after each of them.

        The last ones are `size`.
        """
        axes = 2 if planar else 3
        found: list[Size] = [size[:axes]]
        for number in reversed(range(int(self._posed), self._moving)):
            if self.chain.steps[number].moves:
                change = self._changes[number]
                found.insert(0, change.needs(seeds[number], self.patch[:axes], found[0]))
            else:
                found.insert(0, found[0])
        return tuple(one if len(one) == 3 else (*one, 1) for one in found)

    def make(self, box: Box) -> tuple[Tensor, Tensor | None]:
        """Views float32 [V, C, *patch], and the mask of the first, uint8 [*patch].

        Raises:
            UsageError: a transform fails, drops an image, changes its size or, on a CPU, makes it
                not finite; names the transform and the case.
        """
        try:
            images, mask = self._made(box)
            # A GPU would have to be waited for; `refuse_non_finite` makes them here once more.
            if images.device.type == "cpu" and not bool(torch.isfinite(images.sum())):
                self._blame(box)
        except UsageError as error:
            raise UsageError(f"case {box.case}: {error.what}", error.why, error.do) from error
        return images, mask

    def _made(self, box: Box) -> tuple[Tensor, Tensor | None]:
        images, mask = [], None
        for number, view in enumerate(self._viewed(box)):
            *_, (_, data) = ("", view), *self._after(view, box)
            image = data[IMAGE].float()
            images.append(image.reshape(len(image), *self.patch))
            if LABEL in data and number == 0:
                mask = data[LABEL].to(torch.uint8).reshape(self.patch)
                if mask.device.type == "cpu":
                    _must_be_classes(data[LABEL].reshape(self.patch), mask, box)
        return torch.stack(images), mask

    def _boxed(self, box: Box) -> Iterator[tuple[str, Data]]:
        """The box as given, and after each step that acts on it."""
        planar = box.sizes[0][2] == self.patch[2] == 1
        axes = 2 if planar else 3
        data: Data = {IMAGE: box.image.float()}
        if box.mask is not None:
            data[LABEL] = box.mask
        if planar:
            data = {key: image.squeeze(-1) for key, image in data.items()}
        yield "", data
        patch = self.patch[:axes]
        for number in range(int(self._posed), self._moving):
            change, seed = self._changes[number], box.seeds[number]
            if self.chain.steps[number].moves:
                size = box.sizes[number + 1 - int(self._posed)][:axes]
                data = change.move(data, seed, patch, size)
            else:
                data = change.change(data, seed)
            yield change.name, data

    def _viewed(self, box: Box) -> Iterator[Data]:
        """What each view shows of the changed box; the mask belongs to the first."""
        *_, (_, data) = self._boxed(box)
        for number, start in enumerate(box.views):
            view = {}
            for key, image in data.items():
                if key == LABEL and number:
                    continue
                whole = image
                for axis, (low, side) in enumerate(zip(start, self.patch, strict=True), 1):
                    if axis < whole.ndim:
                        whole = whole.narrow(axis, low, side)
                # A copy of its own, where others show the same voxels.
                view[key] = whole.clone() if len(box.views) > 1 else whole
            yield view

    def _after(self, data: Data, box: Box) -> Iterator[tuple[str, Data]]:
        """A view after each of the last steps."""
        for change, seed in list(zip(self._changes, box.seeds, strict=False))[self._moving :]:
            data = change.change(data, seed)
            yield change.name, data

    def _blame(self, box: Box) -> None:
        """Name the first step that makes what is finite something else."""
        if not bool(torch.isfinite(box.image).all()):
            return  # what trains says so, and names the case
        for name, data in self._traced(box):
            if not bool(torch.isfinite(data[IMAGE]).all()):
                raise UsageError(
                    f"the transform {name} makes values that are not finite",
                    "NaN or infinity cannot be learnt from",
                    "correct its arguments, or leave it out",
                )

    def _traced(self, box: Box) -> Iterator[tuple[str, Data]]:
        yield from self._boxed(box)
        for data in self._viewed(box):
            yield from self._after(data, box)


def _must_be_classes(values: Tensor, mask: Tensor, box: Box) -> None:
    """Refuse values [X, Y, Z] that are no class indices of the box, as `mask` has them."""
    most = 0 if box.mask is None else int(box.mask.max())
    whole = values.dtype == mask.dtype or bool((values == mask).all())
    if not whole or int(mask.max()) > most:
        odd = float(values.max()) if whole else float(values[values != mask][0])
        raise UsageError(
            "augment makes other values of a mask than its class indices",
            f"such as {odd:g}",
            "let transforms that interpolate or scale change the image alone (keys: image)",
        )


@dataclass(frozen=True)
class Boxes:
    """A batch whose random changes are made on the device to which `to` brings it."""

    boxes: tuple[Box, ...]
    changes: Changes

    @property
    def ids(self) -> tuple[str, ...]:
        """Case of each item."""
        return tuple(box.case for box in self.boxes)

    def to(self, device: torch.device) -> Batch:
        """The batch, made on `device`; only what is drawn comes from the CPU."""
        items = [self.changes.make(box.to(device)) for box in self.boxes]
        masks = [mask for _, mask in items if mask is not None]
        label, known = torch.stack(masks) if masks else None, None
        if label is not None and any(box.partial for box in self.boxes):
            known = label != IGNORED
            label = label * known
        return Batch(
            image=torch.stack([image for image, _ in items]),
            label=label,
            start=torch.tensor([box.start for box in self.boxes]),
            ids=self.ids,
            known=known,
            outlined=self._outlined(device),
        )

    def _outlined(self, device: torch.device) -> Tensor | None:
        """[B, K] bool, see `Batch`."""
        found = [box.outlined for box in self.boxes]
        some = next((one for one in found if one is not None), None)
        if some is None:
            return None
        rows = [(True,) * len(some) if one is None else one for one in found]
        return torch.tensor(rows, device=device)

    def damaged(self) -> tuple[str, ...]:
        """The cases with voxels that are not finite."""
        return tuple(box.case for box in self.boxes if not bool(box.image.isfinite().all()))
