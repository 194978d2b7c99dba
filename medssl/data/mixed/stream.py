"""Batches of images and volumes of several data sets together.

Images, loose slices and the slices of volumes share one numbering over all data sets, volumes have
another; so no two items of different data sets are ever taken for one.

Source: joint 2D-3D pre-training (sheet, sections 4, 8 and 10).

Legend: B2 images, B3 volumes, N slices, S pixels of a side, n items of a data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medssl.data.mixed.batch import Images, MixedBatch, Volumes
from medssl.data.mixed.settings import MixedSampling
from medssl.data.mixed.stack import SliceStack
from medssl.data.stream import SEED_WORDS
from medssl.errors import DataError

IMAGES, VOLUMES, BATCHES = 0, 1, 2


@dataclass(frozen=True)
class ImageStack:
    """Native images of one size.

    Attributes:
        ids: case of each.
        pixels: [n, S, S] uint8, in memory or mapped from a file.
    """

    ids: tuple[str, ...]
    pixels: np.ndarray

    def __len__(self) -> int:
        """How many there are."""
        return len(self.ids)


@dataclass(frozen=True)
class MixedSource:
    """One data set.

    Attributes:
        images: native ones; None where it has volumes.
        volumes: none where it has native images.
        loose: single slices of its volumes are images too.
    """

    name: str
    images: ImageStack | None = None
    volumes: tuple[SliceStack, ...] = ()
    loose: bool = False


@dataclass(frozen=True)
class _Place:
    """Where a data set's items stand in the numbering; `slices` holds each volume's first slice."""

    images: int
    slices: np.ndarray
    volumes: int


class MixedStream:
    """Batches without end; batch k is a function of (seed, k).

    Each item's data set is drawn with a chance as its number of items to the power of
    `settings.temperature`, then the item uniformly; where `settings.volumes_of` is "one", that of
    all volumes of a batch.

    Attributes:
        images: native images and loose slices there are.
        numbered: images and slices of volumes there are.
        volumes: volumes there are.

    Raises:
        DataError: images or volumes are asked for and there are none.
    """

    def __init__(self, sources: Sequence[MixedSource], settings: MixedSampling, seed: int) -> None:
        self._sources, self._settings, self._seed = sources, settings, seed
        self._places, self.numbered, self.volumes = _numbered(sources)
        counts = [_images_of(source) for source in sources]
        self.images = sum(counts)
        if settings.images and not self.images:
            raise DataError(
                "there are no images to learn from",
                f"{', '.join(source.name for source in sources)} hold volumes alone",
                "set train.joint.images=0, or name data sets in train.joint.loose",
            )
        if settings.volumes and not self.volumes:
            raise DataError(
                "there are no volumes to learn from",
                f"{', '.join(source.name for source in sources)} hold images alone",
                "add a data set of volumes, or set train.joint.volumes=0",
            )
        self._chances = (
            _chances(counts, settings.temperature),
            _chances([len(source.volumes) for source in sources], settings.temperature),
        )

    def batch(self, number: int) -> MixedBatch:
        """Batch `number`, counted from 0."""
        chosen = self._settings
        images = [self._image(item) for item in _items(number, chosen.images)]
        one = self._draw(BATCHES, number)[0] if chosen.volumes_of == "one" else None
        volumes = [self._volume(item, one) for item in _items(number, chosen.volumes)]
        ids = (*(item[0] for item in images), *(item[0] for item in volumes))
        return MixedBatch(self._stacked_images(images), self._stacked_volumes(volumes), ids)

    def _draw(self, kind: int, item: int) -> tuple[int, np.random.Generator]:
        """The data set of an item, or of a batch, and the generator that draws the rest of it."""
        rng = np.random.default_rng([self._seed, SEED_WORDS["joint"], kind, item])
        chances = self._chances[min(kind, VOLUMES)]
        return int(rng.choice(len(self._sources), p=chances)), rng

    def _image(self, item: int) -> tuple[str, np.ndarray, int, int]:
        """Case, pixels [S, S] float32, number and data set."""
        which, rng = self._draw(IMAGES, item)
        source, place = self._sources[which], self._places[which]
        index = int(rng.integers(_images_of(source)))
        if source.images is not None:
            pixels = source.images.pixels[index].astype(np.float32) / 127.5 - 1
            return f"{source.name}/{source.images.ids[index]}", pixels, place.images + index, which
        number = int(place.slices[0]) + index
        volume = int(np.searchsorted(place.slices, number, side="right")) - 1
        stack = source.volumes[volume]
        pixels = np.asarray(stack.slices[number - int(place.slices[volume])], np.float32)
        return stack.id, pixels, number, which

    def _volume(self, item: int, one: int | None) -> tuple[str, SliceStack, int, int, int, int]:
        """Case, stack, first slice of the window, that slice's number, volume and data set.

        Args:
            one: the data set that it is of; None draws it.
        """
        drawn, rng = self._draw(VOLUMES, item)
        which = drawn if one is None else one
        source, place = self._sources[which], self._places[which]
        index = int(rng.integers(len(source.volumes)))
        stack = source.volumes[index]
        start = int(rng.integers(max(0, len(stack) - self._settings.slices) + 1))
        first = int(place.slices[index]) + start
        return stack.id, stack, start, first, place.volumes + index, which

    def _stacked_images(self, items: Sequence[tuple[str, np.ndarray, int, int]]) -> Images:
        side = self._settings.side
        pixels = np.zeros((len(items), side, side), np.float32)
        for place, item in zip(pixels, items, strict=True):
            place[:] = item[1]
        number, source = (
            torch.tensor([item[part] for item in items], dtype=torch.int64) for part in (2, 3)
        )
        return Images(torch.from_numpy(pixels), number, source)

    def _stacked_volumes(
        self, items: Sequence[tuple[str, SliceStack, int, int, int, int]]
    ) -> Volumes:
        chosen = self._settings
        shape = (len(items), chosen.slices)
        slices = np.zeros((*shape, chosen.side, chosen.side), np.float32)
        share, valid = np.zeros(shape, np.float32), np.zeros(shape, bool)
        number = np.zeros(shape, np.int64)
        for row, (_, stack, start, first, _, _) in enumerate(items):
            count = min(chosen.slices, len(stack) - start)
            slices[row, :count] = stack.slices[start : start + count]
            slices[row, count:] = slices[row, :count].min()
            share[row, :count] = stack.foreground[start : start + count]
            valid[row, :count] = True
            number[row] = first + np.minimum(np.arange(chosen.slices), count - 1)
        return Volumes(
            slices=torch.from_numpy(slices),
            valid=torch.from_numpy(valid),
            spacing=torch.tensor([item[1].spacing for item in items], dtype=torch.float32),
            foreground=torch.from_numpy(share),
            number=torch.tensor([item[4] for item in items], dtype=torch.int64),
            slice_number=torch.from_numpy(number),
            source=torch.tensor([item[5] for item in items], dtype=torch.int64),
        )


def _items(number: int, size: int) -> range:
    return range(number * size, (number + 1) * size)


def _images_of(source: MixedSource) -> int:
    """Native images and loose slices of a data set."""
    loose = sum(len(stack) for stack in source.volumes) if source.loose else 0
    return loose + (0 if source.images is None else len(source.images))


def _numbered(sources: Sequence[MixedSource]) -> tuple[list[_Place], int, int]:
    """Where each data set's items stand, and how many numbers of both kinds there are."""
    places, images, volumes = [], 0, 0
    for source in sources:
        native = 0 if source.images is None else len(source.images)
        lengths = [len(stack) for stack in source.volumes]
        starts = images + native + np.cumsum([0, *lengths])
        places.append(_Place(images, starts[:-1], volumes))
        images, volumes = int(starts[-1]), volumes + len(lengths)
    return places, images, volumes


def _chances(counts: Sequence[int], temperature: float) -> np.ndarray:
    """Chance of each data set, proportional to n^temperature; 0 for one without items."""
    weight = np.array([count**temperature if count else 0.0 for count in counts])
    chances: np.ndarray = weight / max(weight.sum(), 1e-12)
    return chances
