"""The features of a slide's tiles on disk: one safetensors file, read when it is asked for.

Legend: N tiles, E features.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.atomic import appearing
from medssl.errors import DataError

_FORMAT = "medssl tile features 1"


@dataclass(frozen=True)
class FeatureHeader:
    """What a file of features says of itself.

    Attributes:
        slide: id of the slide.
        span: side of a tile in level-0 pixels.
        mpp: microns per pixel of a tile.
        size: side of a tile in pixels.
        slide_size: width and height of the slide in level-0 pixels.
        encoder: key of the encoder that made the features.
        tiles: key of the tile settings, and of what was done to tiles.
        source: digest of the slide's file.
    """

    slide: str
    span: int
    mpp: float
    size: int
    slide_size: tuple[int, int]
    encoder: str
    tiles: str
    source: str


@dataclass(frozen=True)
class FeatureBag:
    """A slide as a bag whose features stay on disk; a `medssl.data.bags.bag.BagSource`.

    Attributes:
        patient: what splits keep together.
        label: class index, or None.
        path: the file.
        places: [N, 2] int32, top-left corner (x, y) of each tile in level-0 pixels.
        header: how the features were made.
    """

    id: str
    patient: str
    label: int | None
    path: Path
    places: np.ndarray
    header: FeatureHeader

    @property
    def features(self) -> np.ndarray:
        """[N, E] float16, read anew each time.

        Raises:
            DataError: the file is damaged.
        """
        return _tensor(self.path, "features")

    @property
    def span(self) -> int:
        """Side of a tile in level-0 pixels."""
        return self.header.span

    @property
    def slide_size(self) -> tuple[int, int]:
        """Width and height of the slide in level-0 pixels."""
        return self.header.slide_size


def read_features(
    path: Path, patient: str | None = None, label: int | None = None, name: str | None = None
) -> FeatureBag:
    """The bag in a file of `write_features`; by default it has no label and is its own patient.

    Reads the whole file for its checksum; later accesses do not.

    Raises:
        DataError: there is no such file, or it holds no features of tiles.
    """
    header = read_header(path)
    if not is_whole(path):
        raise _damaged(path)
    bag = name or header.slide
    return FeatureBag(bag, patient or bag, label, path, _tensor(path, "places"), header)


def read_header(path: Path) -> FeatureHeader:
    """What the file says of itself.

    Raises:
        DataError: there is no such file, or it holds no features of tiles.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"there are no features {path}", do="extract them again")
    try:
        with safe_open(path, framework="numpy") as file:
            stated: dict[str, str] = file.metadata() or {}
        if stated.get("format") != _FORMAT:
            raise _damaged(path)
        plain: dict[str, Any] = dict(json.loads(stated["header"]))
        return FeatureHeader(**{**plain, "slide_size": tuple(plain["slide_size"])})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def write_features(
    path: Path, features: np.ndarray, places: np.ndarray, header: FeatureHeader
) -> None:
    """Write features [N, E] float16 and places [N, 2] int32; the file appears complete."""
    from safetensors.numpy import save_file

    stated = {"format": _FORMAT, "header": json.dumps(vars(header))}
    stated["crc32"] = _checksum(stated["header"], features, places)
    with appearing(path) as beside:
        save_file({"features": features, "places": places}, beside, stated)


def is_whole(path: Path) -> bool:
    """Whether the file is as it was written; reads all of it.

    Files of earlier versions hold no checksum and are taken as they are.
    """
    from safetensors import safe_open

    try:
        read_header(path)
        with safe_open(path, framework="numpy") as file:
            stated: dict[str, str] = file.metadata()
        arrays = _tensor(path, "features"), _tensor(path, "places")
    except DataError:
        return False
    return stated.get("crc32") in (None, _checksum(stated["header"], *arrays))


def _checksum(header: str, features: np.ndarray, places: np.ndarray) -> str:
    checksum = zlib.crc32(header.encode())
    for array in (features, places):
        checksum = zlib.crc32(f"{array.dtype} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
    return f"{checksum:08x}"


def _tensor(path: Path, name: str) -> np.ndarray:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return np.asarray(file.get_tensor(name))
    except (SafetensorError, OSError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path} holds no features of tiles",
        "it is truncated, damaged or from another program",
        "remove it and extract the features again",
    )
