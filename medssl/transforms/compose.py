"""A chain of transforms at work: built as MONAI's `Compose`, watched step by step, led back.

Legend: C channels, X Y Z voxels of the file's grid, x y z of the network's.
"""

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from inspect import signature
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform, Randomizable
from monai.transforms.traits import RandomizableTrait

from medssl.data.geometry import Geometry
from medssl.data.record import Record
from medssl.data.resample import copy_in_rows
from medssl.data.volume import Volume
from medssl.errors import DataError, MedsslError, UsageError
from medssl.registry import TRANSFORMS
from medssl.transforms.chain import Chain
from medssl.transforms.kept_grid import must_know_its_grid
from medssl.transforms.planar import flattened, is_flat, is_planar, raised
from medssl.transforms.reader import LoadVolumed
from medssl.transforms.spatial import geometry_of
from medssl.transforms.step import IMAGE, LABEL, Step, failure_told

_INTERPOLATED = "mode"
"""Argument of MONAI's spatial transforms that masks must not share with images."""

_MISSING = "allow_missing_keys"

_ARRAY = "NdarrayOrTensor"
"""Annotation of MONAI's arguments that are arrays, and lists in a pipeline."""

_SCALED = ("Resized", "Zoomd", "RandZoomd")
"""Transforms whose "nearest" counts from corners, half a voxel beside where they put an image."""


def build(step: Step) -> MapTransform:
    """The transform of one step, for images and, where it moves voxels, for masks alike.

    Raises:
        UsageError: it refuses its arguments.
    """
    from monai import transforms

    import medssl.transforms as ours

    entry, args = step.entry, dict(step.args)
    keys = step.keys
    args.pop("keys", None)
    if _INTERPOLATED in entry.optional and entry.group == "spatial":
        mode = args.get(_INTERPOLATED, entry.optional[_INTERPOLATED])
        if LABEL in keys and not isinstance(mode, list | tuple):
            nearest = "nearest-exact" if step.name in _SCALED else "nearest"
            args[_INTERPOLATED] = [nearest if key == LABEL else mode for key in keys]
    if step.name.startswith("medssl:"):
        kind = getattr(ours, step.name.removeprefix("medssl:"))
    elif hasattr(transforms, step.name):
        kind = getattr(transforms, step.name)
    else:
        kind = TRANSFORMS.find_class(step.name, MapTransform)
    _must_draw_by_seed(step.name, kind)
    asked = signature(kind).parameters
    if _MISSING in asked or any(one.kind is one.VAR_KEYWORD for one in asked.values()):
        args[_MISSING] = True
    for key, one in args.items():
        if isinstance(one, list) and key in asked and _ARRAY in str(asked[key].annotation):
            args[key] = np.asarray(one)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of arguments that nobody gave
            made: MapTransform = kind(keys=keys, **args)
            made.allow_missing_keys = True  # of those that do not take it as an argument too
    except Exception as error:
        raise UsageError(
            f"the transform {step.name} cannot be made of {dict(step.args)}",
            " ".join(str(error).split()) or type(error).__name__,
            "correct its arguments",
        ) from error
    return made


def _must_draw_by_seed(name: str, kind: type[MapTransform]) -> None:
    """Refuse what draws and takes no seed: it would be cached, or no run could be repeated."""
    if issubclass(kind, RandomizableTrait) and not issubclass(kind, Randomizable):
        raise UsageError(
            f"the transform {name} draws what no seed of an item decides",
            "it is a RandomizableTrait and no Randomizable",
            "derive it from monai.transforms.RandomizableTransform and draw from its R",
        )


class Watched(MapTransform):
    """A transform of which every fault is told: a lost key, a grid that its record does not know.

    Args:
        step: what the pipeline says.
    """

    def __init__(self, step: Step) -> None:
        self.name, self._made = step.name, build(step)
        self._planar = is_planar(step)
        super().__init__(self._made.keys, allow_missing_keys=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """What the transform makes of `data`.

        Raises:
            UsageError: it fails, drops an image or moves voxels without a record.
        """
        if self._turns_nothing(data):
            return dict(data)
        with failure_told(self.name):
            changed = self._changed(data)
        self._look(data, changed)
        return changed

    def _changed(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        if self._planar and is_flat(data):
            return raised(self._made(flattened(data)), data)
        changed: dict[Hashable, Any] = self._made(data)
        return changed

    def _turns_nothing(self, data: Mapping[Hashable, Any]) -> bool:
        """Whether it turns axes that run so already, which MONAI's takes long to find out."""
        turn = getattr(self._made, "ornt_transform", None)
        if turn is None or turn.labels is not None or turn.as_closest_canonical:
            return False
        images = (data[key] for key in self.keys if key in data)
        return all(geometry_of(one).runs_clearly(turn.axcodes) for one in images)

    def _look(self, before: Mapping[Hashable, Any], after: Mapping[Hashable, Any]) -> None:
        """Refuse what the transform must not do; UsageError."""
        for key in (IMAGE, LABEL):
            if key in before:
                must_know_its_grid(self.name, before[key], after.get(key), key)


@dataclass(frozen=True)
class Prepared:
    """What the network sees of a case.

    Attributes:
        image: [C, x, y, z] float32, in C order.
        mask: [x, y, z] uint8 class indices; None without a label.
        record: the way back.
    """

    image: np.ndarray
    mask: np.ndarray | None
    record: Record


class Preparation:
    """The chain from a volume on disk to what the network sees, without what draws.

    Raises:
        UsageError: a transform refuses its arguments.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain.certain
        self._steps = [Watched(step) for step in self._chain.steps]
        self._compose = Compose(
            [LoadVolumed([IMAGE, LABEL], allow_missing_keys=True), *self._steps]
        )

    def __call__(self, volume: Volume, mask: Volume | None = None) -> Prepared:
        """A volume, and its mask of class indices (uint8 [1, X, Y, Z]) on the same grid.

        Raises:
            UsageError: a transform fails, or loses track of image or grid.
            DataError: an intensity is not finite.
        """
        given: dict[Hashable, Any] = {IMAGE: volume}
        if mask is not None:
            given[LABEL] = mask
        _must_be_finite(volume)
        done = self._composed(given)
        image = done[IMAGE]
        network = geometry_of(image)
        array = _in_c_order(image.as_tensor().cpu().numpy().astype(np.float32, copy=False))
        if not _finite(array):
            raise self._not_finite(given, volume.source)
        indices = None
        if mask is not None:
            label = done[LABEL]
            if not geometry_of(label).matches(network):
                raise UsageError(
                    "preprocess moves image and label apart",
                    geometry_of(label).difference(network),
                    "give every transform that moves voxels both keys, or none",
                )
            indices = _in_c_order(self._classes(label))[0]
        return Prepared(array, indices, Record(volume.geometry, network, self._cuts))

    def _classes(self, label: MetaTensor) -> np.ndarray:
        """A mask as class indices, uint8 [1, x, y, z].

        Raises:
            UsageError: it holds something else.
        """
        values = label.as_tensor().cpu().numpy()
        indices: np.ndarray = values.astype(np.uint8, copy=False)
        if values is not indices and not np.array_equal(values, indices):
            raise UsageError(
                "preprocess makes other values of a mask than class indices",
                f"such as {values[values != indices][0]:g}",
                "let transforms that interpolate or scale change the image alone (keys: image)",
            )
        return indices

    def _composed(self, given: dict[Hashable, Any]) -> dict[Hashable, Any]:
        """What the chain makes; errors as they were raised, which MONAI wraps into its own."""
        try:
            done: dict[Hashable, Any] = self._compose(given)
        except RuntimeError as error:
            raised: BaseException = error
            while raised.__cause__ is not None and not isinstance(raised, MedsslError):
                raised = raised.__cause__
            raise raised from None
        return done

    @property
    def _cuts(self) -> bool:
        """Whether a step can cut something of the scan away."""
        others = TRANSFORMS.names()
        return any("Crop" in step.name or step.name in others for step in self._chain.steps)

    def _not_finite(self, given: Mapping[Hashable, Any], source: str) -> UsageError:
        """Names the first step after which a voxel is not finite."""
        data = LoadVolumed([IMAGE, LABEL], allow_missing_keys=True)(given)
        for watched in self._steps:
            data = watched(data)
            if not bool(torch.isfinite(data[IMAGE].as_tensor()).all()):
                break
        return UsageError(
            f"the transform {watched.name} makes values of {source} that are not finite",
            "NaN or infinity cannot be learnt from",
            "correct its arguments, or leave it out",
        )


@lru_cache(maxsize=256)
def grid_after(chain: Chain, grid: Geometry) -> Geometry:
    """The network's grid of a scan on `grid`, by the steps that move voxels.

    Raises:
        UsageError: a transform fails, or loses track of the grid.
    """
    empty = Volume(np.zeros((1, *grid.shape), np.uint8), grid, "")
    data = LoadVolumed([LABEL])({LABEL: empty})
    for step in chain.steps:
        if step.entry.moves:
            data = Watched(step)(data)
    return geometry_of(data[LABEL])


def _in_c_order(array: np.ndarray) -> np.ndarray:
    """`array` [C, X, Y, Z] in C order."""
    if array.flags.c_contiguous:
        return array
    out = np.empty(array.shape, array.dtype)
    for channel, target in zip(array, out, strict=True):
        copy_in_rows(channel, target)
    return out


def _finite(array: np.ndarray) -> bool:
    """Whether an array holds neither NaN nor infinity; makes no second array."""
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _must_be_finite(volume: Volume) -> None:
    for index, channel in enumerate(volume.array):
        if not _finite(channel):
            raise DataError(
                f"{volume.file_of(index)} holds values that are not finite",
                "NaN or infinity cannot be scaled",
                "repair the file, for example by setting them to the background value",
            )
