"""What a grader of radiographs is given.

Legend: B images, V crops of an image, S pixels of a side.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass
class RadiographBatch:
    """Images of one stream, as read; methods draw their own random views of them.

    Attributes:
        image: [B, V, S, S] uint8.
        grade: [B] int64 index of the grade, or None where none is read.
        ids: case of each image.
    """

    image: Tensor
    grade: Tensor | None
    ids: tuple[str, ...]

    @property
    def truth(self) -> Tensor:
        """The grades of a stream that reads them; ValueError on a stream that does not."""
        if self.grade is None:
            raise ValueError("this stream reads no grades")
        return self.grade

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        grade = None if self.grade is None else self.grade.to(device, non_blocking=True)
        return type(self)(self.image.to(device, non_blocking=True), grade, self.ids)

    def damaged(self) -> tuple[str, ...]:
        """Always None: bytes are always finite."""
        return ()
