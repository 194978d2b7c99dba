"""Sliding-window prediction whose memory need not grow with the volume.

Windows lie on a fixed grid of starts. Their outputs are summed under a weight that favours the
window's centre, and the sum is divided by the summed weights. Windows are taken in the order of
their starts along the long axis, so that every plane before the next start is final: it can be
handed on and its memory used again. `sliding_window_slabs` holds the logits of one patch's depth
that way; `sliding_window` holds them all, because it returns them.

The same windows, weights and sums as `monai.inferers.sliding_window_inference` (MONAI 1.6), which
holds a volume of weights and the outputs of the last call besides.

The result does not depend on the number of windows per call, unless the network's own kernels do:
each window's output is added by itself, always in the same order.

Legend: B windows of one call, C channels, K classes, X Y Z voxels of the volume.
"""

from collections.abc import Callable, Iterator
from math import ceil, prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from medssl.errors import UsageError
from medssl.infer.sparing import Note, Sparing, nobody
from medssl.infer.stitch import Stitch
from medssl.infer.window_grid import Triple, Weighting, Windows, window_starts
from medssl.train.allocator import keep_freed_memory

__all__ = ["Slab", "sliding_window", "sliding_window_slabs", "window_starts"]

Predictor = Callable[[Tensor], Tensor]
Image = Tensor | np.ndarray
Told = Callable[[list[Triple]], None]
CPU = torch.device("cpu")

SMALL = 48**3
"""Voxels of a window up to which a CPU is fastest at four per call. Torch gives a lone small window
to a convolution four to six times slower than that of larger batches, so it is predicted twice."""

MEDIUM = 64**3
"""Voxels of a window up to which a CPU is fastest at two per call. Beyond, more windows are no
faster and take more memory."""


class Slab(NamedTuple):
    """Finished planes of a volume.

    Attributes:
        where: their place, an index into the last three axes [X, Y, Z].
        logits: [K, *planes] float32; valid until the next slab is asked for.
    """

    where: tuple[slice, slice, slice]
    logits: Tensor


def sliding_window(
    image: Image,
    predictor: Predictor,
    patch: Triple,
    stride: Triple,
    *,
    weighting: Weighting = "gaussian",
    window_batch: int | None = None,
    device: torch.device = CPU,
    outside: float = 0.0,
    told: Told | None = None,
    note: Note = nobody,
) -> Tensor:
    """Logits of a whole volume, [K, X, Y, Z] float32 on the device.

    Where a GPU's memory does not suffice, windows are taken in smaller calls, down to one at a
    time, and then the sums are held on the CPU, where the logits are returned.

    Args:
        image: [C, X, Y, Z], a tensor on any device or an array, which may be memory-mapped:
            windows are read from it one by one.
        predictor: windows [B, C, *patch] to logits (or anything to be averaged) [B, K, *patch];
            called without gradients, in whatever mode it is in.
        patch: voxels of a window.
        stride: voxels from one window to the next, at most the patch.
        weighting: "gaussian" trusts the middle of a window most, "constant" all of it alike.
        window_batch: windows per call of the predictor; None chooses by device and patch.
        device: where the predictor lies and the sums are held.
        outside: value that surrounds a volume smaller than the patch, evenly on both sides.
        told: called before each call of the predictor with the first voxels of its windows, in
            their order; the call may have further rows, whose answers are thrown away.
        note: is told, in a sentence, how it is done where memory does not suffice.

    Raises:
        UsageError: for a stride beyond the patch, or a predictor that changes the window's shape;
            or a GPU has not memory enough for one window.
    """
    windows = Windows(_sides(image), patch, stride)
    stitch = Stitch(windows, weighting, windows.padded[windows.axis], device)
    reader = WindowReader(image, windows, outside, device)
    for _ in _slabs(reader, predictor, stitch, window_batch, told, note):
        pass  # divided in place
    inside = zip(windows.before, windows.shape, strict=True)
    whole = stitch.sums[(slice(None), *(slice(low, low + side) for low, side in inside))]
    return whole.contiguous()


def sliding_window_slabs(
    image: Image,
    predictor: Predictor,
    patch: Triple,
    stride: Triple,
    *,
    weighting: Weighting = "gaussian",
    window_batch: int | None = None,
    device: torch.device = CPU,
    outside: float = 0.0,
    told: Told | None = None,
    note: Note = nobody,
) -> Iterator[Slab]:
    """The logits of `sliding_window`, bit for bit, as slabs that cover the volume once.

    Holds the logits of one patch's depth along the long axis, whatever the volume's length. A
    slab's memory is used again: copy what has to outlast the next one. Arguments and errors are
    those of `sliding_window`.
    """
    windows = Windows(_sides(image), patch, stride)
    stitch = Stitch(windows, weighting, patch[windows.axis], device)
    reader = WindowReader(image, windows, outside, device)
    return _slabs(reader, predictor, stitch, window_batch, told, note)


class WindowReader:
    """Windows of an image, padded where the volume is smaller than the patch."""

    def __init__(
        self, image: Image, windows: Windows, outside: float, device: torch.device
    ) -> None:
        self.image, self.windows, self.outside, self.device = image, windows, outside, device
        self.margins: list[int] = []
        sides = zip(windows.before, windows.padded, windows.shape, strict=True)
        for before, padded, side in reversed(list(sides)):
            self.margins += [before, padded - side - before]

    def read(self, corners: list[Triple]) -> Tensor:
        """[B, C, *patch] float32 on the device."""
        parts = [self._one(corner) for corner in corners]
        batch = parts[0][None] if len(parts) == 1 else torch.stack(parts)
        return batch.to(self.device, torch.float32)

    def _one(self, corner: Triple) -> Tensor:
        # A window that hangs over the end of a short axis is cut by the slice and padded below.
        span = zip(corner, self.windows.patch, strict=True)
        part = self.image[(slice(None), *(slice(low, low + side) for low, side in span))]
        tensor = part if isinstance(part, Tensor) else torch.from_numpy(part.astype(np.float32))
        return pad(tensor, self.margins, value=self.outside) if any(self.margins) else tensor


def _slabs(
    reader: WindowReader,
    predictor: Predictor,
    stitch: Stitch,
    window_batch: int | None,
    told: Told | None,
    note: Note,
) -> Iterator[Slab]:
    """Predict, add, and hand on what no later window touches."""
    windows = reader.windows
    axis, done = windows.axis, 0
    size = window_batch or windows_per_call(reader.device, windows.patch)

    def predicted(corners: list[Triple]) -> Tensor:
        if told is not None:
            told(corners)
        return _predict(predictor, reader.read(corners))

    calls = Sparing(predicted, size, note)
    if reader.device.type == "cpu":
        keep_freed_memory()  # mapping each call's memory anew can cost as much as the sums
    for batch in _batches(windows.corners(), size):
        for corner, logits in calls.answers(batch, stitch):
            if corner[axis] > done:
                yield from _inside(windows, stitch.close(done, corner[axis]))
                done = corner[axis]
            calls.add(stitch, corner, logits)
            del logits  # or it would lie beside those of the next call
    yield from _inside(windows, stitch.close(done, windows.padded[axis]))


def windows_per_call(device: torch.device, patch: Triple) -> int:
    """Windows of one call where nobody says how many."""
    if device.type != "cpu" or prod(patch) <= SMALL:
        return 4
    return 2 if prod(patch) <= MEDIUM else 1


def _batches(corners: list[Triple], size: int) -> Iterator[list[Triple]]:
    """As few batches as the size allows, and as even."""
    calls = ceil(len(corners) / size)
    for call in range(calls):
        yield corners[call * len(corners) // calls : (call + 1) * len(corners) // calls]


def _predict(predictor: Predictor, batch: Tensor) -> Tensor:
    count = len(batch)
    if count == 1 and batch.device.type == "cpu" and batch[0, 0].numel() <= SMALL:
        batch = batch.repeat(2, 1, 1, 1, 1)
    with torch.no_grad():
        outputs = predictor(batch)
    if outputs.shape[:1] + outputs.shape[2:] != batch.shape[:1] + batch.shape[2:]:
        raise UsageError(
            f"the network turns windows of {tuple(batch.shape)} into {tuple(outputs.shape)}",
            "a window must keep its size",
            "choose a patch that the network's levels divide evenly",
        )
    return outputs[:count].float()


def _inside(windows: Windows, planes: Iterator[tuple[slice, Tensor]]) -> Iterator[Slab]:
    """Finished planes without the padding, at their place in the unpadded volume."""
    for along, logits in planes:
        kept = [
            slice(low, low + side) for low, side in zip(windows.before, windows.shape, strict=True)
        ]
        where = [slice(0, side) for side in windows.shape]
        low, high = kept[windows.axis].start, kept[windows.axis].stop
        first, last = max(along.start, low), min(along.stop, high)
        if first < last:
            kept[windows.axis] = slice(first - along.start, last - along.start)
            where[windows.axis] = slice(first - low, last - low)
            x, y, z = where
            yield Slab((x, y, z), logits[(slice(None), *kept)])


def _sides(image: Image) -> Triple:
    _, x, y, z = image.shape
    return int(x), int(y), int(z)
