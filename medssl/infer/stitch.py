"""Overlapping windows summed into one volume, or into as much of it as is still open.

Legend: K classes; the long axis is the one in whose order the windows come.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from torch import Tensor

from medssl.infer.window_grid import Triple, Weighting, Windows, window_weights

PLANES = 16
"""Planes that are divided and handed on at a time, at most; it bounds the memory of a caller."""


class Stitch:
    """Weighted sums of window outputs, over `depth` planes of the long axis.

    The planes are a ring: plane p lies at p modulo `depth`. With the depth of a patch only the
    planes that windows still touch are held, with the depth of the volume all of them are.

    Args:
        windows: the grid of windows.
        weighting: of the voxels of one window.
        depth: planes held, from the patch's side to the padded volume's along the long axis.
        device: where the sums are held.
    """

    def __init__(
        self, windows: Windows, weighting: Weighting, depth: int, device: torch.device
    ) -> None:
        self.windows, self.depth = windows, depth
        self.axis = windows.axis
        self.side = windows.patch[self.axis]
        self.weights = window_weights(windows.patch, weighting).to(device)
        self.even = weighting == "constant"
        self.sums, self.layer = torch.empty(0), torch.empty(0)

    def add(self, corner: Triple, logits: Tensor) -> None:
        """Add the output [K, *patch] of the window at a corner."""
        if not self.sums.numel():
            self._open(logits)
        logits = logits.to(self.weights.device)
        across = list(zip(corner, self.windows.patch, strict=True))
        for inside, slots in self._runs(corner[self.axis], self.side):
            where = [slice(first, first + side) for first, side in across]
            where[self.axis] = slots
            target = self.sums[(slice(None), *where)]
            part = _planes(logits, self.axis, inside)
            if self.even:
                target.add_(part)
            else:
                target.addcmul_(part, _planes(self.weights, self.axis, inside))

    def close(self, start: int, stop: int) -> Iterator[tuple[slice, Tensor]]:
        """Divide planes that no further window touches by the weight they have gathered.

        Yields:
            the planes, as a slice of the padded volume's long axis, and their logits: a view that
            holds until the next one is asked for. A ring shorter than the volume is then emptied
            there.
        """
        for first in range(start, stop, PLANES):
            count = min(PLANES, stop - first)
            total = self._weight(first, first + count)
            for inside, slots in self._runs(first, count):
                view = _planes(self.sums, self.axis, slots)
                view.div_(_planes(total, self.axis, inside))
                yield slice(first + inside.start, first + inside.stop), view
                if self.depth < self.windows.padded[self.axis]:
                    view.zero_()

    @property
    def on_cpu(self) -> bool:
        """Whether the sums are held on the CPU."""
        return self.weights.device.type == "cpu"

    def to_cpu(self) -> None:
        """Hold the sums on the CPU from now on; what they have gathered goes along."""
        self.weights, self.sums = self.weights.cpu(), self.sums.cpu()
        self.layer = self.layer.cpu()

    def _open(self, logits: Tensor) -> None:
        shape = list(self.windows.padded)
        shape[self.axis] = self.depth
        layer = self._layer()
        self.sums = _zeros([logits.shape[0], *shape], self.weights.device)
        self.layer = layer

    def _layer(self) -> Tensor:
        """Summed weights of the windows of one start along the long axis; the same for each."""
        shape, starts = list(self.windows.padded), list(self.windows.starts)
        shape[self.axis], starts[self.axis] = self.side, [0]
        layer = torch.zeros(shape, device=self.weights.device)
        for corner in product(*starts):
            across = zip(corner, self.windows.patch, strict=True)
            layer[tuple(slice(first, first + side) for first, side in across)] += self.weights
        return layer

    def _weight(self, start: int, stop: int) -> Tensor:
        """Summed weights of all windows over some planes."""
        shape = list(self.windows.padded)
        shape[self.axis] = stop - start
        total = torch.zeros(shape, device=self.weights.device)
        for begin in self.windows.starts[self.axis]:
            first, last = max(start, begin), min(stop, begin + self.side)
            if first < last:
                shared = _planes(self.layer, self.axis, slice(first - begin, last - begin))
                _planes(total, self.axis, slice(first - start, last - start)).add_(shared)
        return total

    def _runs(self, first: int, count: int) -> Iterator[tuple[slice, slice]]:
        """Consecutive planes as (slice of them, slice of the ring); two runs where they wrap."""
        slot = first % self.depth
        head = min(count, self.depth - slot)
        yield slice(0, head), slice(slot, slot + head)
        if head < count:
            yield slice(head, count), slice(0, count - head)


def _zeros(shape: list[int], device: torch.device) -> Tensor:
    """Zeros; on a CPU by numpy, which asks Linux for large pages: first touch costs a fifth."""
    if device.type == "cpu":
        return torch.from_numpy(np.zeros(shape, np.float32))
    return torch.zeros(shape, device=device)


def _planes(tensor: Tensor, axis: int, which: slice) -> Tensor:
    """Some planes of one of the last three axes, as a view."""
    return tensor.narrow(tensor.ndim - 3 + axis, which.start, which.stop - which.start)
