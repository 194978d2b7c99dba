"""Structures that are laid upon each other in one mask, and what is told where they overlap.

A voxel of a mask has one value, and structures that were drawn each by itself may overlap: those
that come later lie over earlier ones, and that is never kept quiet.
"""

from collections.abc import Sequence

import numpy as np

ORDER = "labels that come later in the data spec lie over earlier ones"


class Layers:
    """Structures on one grid, the lowest first.

    Args:
        shape: X, Y, Z of the grid.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shown = np.zeros(shape, np.uint16)  # the number of the structure that is uppermost
        self._names, self._values, self._sizes = [""], [0], [0]
        self._over: list[str] = []

    def lay(self, marked: np.ndarray, name: str, value: int) -> None:
        """Lay a structure, bool [X, Y, Z], over what is there; its voxels get a value to 255."""
        below = np.bincount(self._shown[marked], minlength=len(self._names))
        self._over += [
            f"{name} lies over {self._names[other]} in {voxels} voxels"
            for other, voxels in enumerate(below.tolist())
            if voxels and self._values[other] not in (0, value)
        ]
        self._shown[marked] = len(self._names)
        self._names.append(name)
        self._values.append(value)
        self._sizes.append(int(marked.sum()))

    @property
    def mask(self) -> np.ndarray:
        """The values, uint8 [X, Y, Z]."""
        return np.array(self._values, np.uint8)[self._shown]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Where structures of different values overlap, in sentences."""
        left = {self._values[number] for number in np.unique(self._shown).tolist()}
        lost = dict.fromkeys(
            name
            for name, value, size in zip(self._names, self._values, self._sizes, strict=True)
            if size and value not in left
        )
        return (*self._over, *(f"nothing is left of {name}" for name in lost))


def overlapping(found: Sequence[str]) -> str:
    """One sentence on masks whose structures overlap.

    Args:
        found: of each such mask the case and a remark: "a: tumour lies over liver in 9 voxels".
    """
    masks = "1 mask" if len(found) == 1 else f"{len(found)} masks"
    return f"structures overlap in {masks}, e.g. in that of {found[0]}; {ORDER}"
