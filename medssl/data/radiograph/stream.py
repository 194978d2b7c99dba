"""Batches of radiographs: every batch is a function of its number, so a stream resumes anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from medssl.data.radiograph.batch import RadiographBatch
from medssl.data.rest import NOTHING, Rest
from medssl.data.stream import SEED_WORDS, chained


@dataclass(frozen=True)
class RadiographStream:
    """Batches from one set of images; permutations of all of them follow each other without end.

    Attributes:
        crops: [N, V, S, S] uint8 of every image of the data set.
        ids: image of each crop that is drawn from, by its place in `crops`.
        grades: index of the grade by image, for a `labelled` stream; None reads none.
        size: images of a batch.
        rest: what is done to the crops of an image for each item.
    """

    kind: Literal["labelled", "unlabelled"]
    crops: np.ndarray
    ids: Mapping[int, str]
    grades: Mapping[str, int] | None
    size: int
    seed: int
    rest: Rest = NOTHING

    def batch(self, number: int) -> RadiographBatch:
        """Batch `number`, counted from 0."""
        places = list(self.ids)
        seeds = [self.seed, SEED_WORDS[self.kind], 0]
        drawn = [places[i] for i in chained(number, self.size, len(places), seeds)]
        names = tuple(self.ids[place] for place in drawn)
        grade = None
        if self.grades is not None:
            grade = torch.tensor([self.grades[name] for name in names], dtype=torch.int64)
        crops = self.crops[drawn]
        for place, name in enumerate(names if self.rest else ()):
            by = self.seed, SEED_WORDS[self.kind], 1, number * self.size + place
            crops[place] = self.rest.in_bytes(crops[place], name, *by)
        return RadiographBatch(torch.from_numpy(crops), grade, names)
