"""Whole-slide files: regions of any size and scale, in bounded memory, from several threads.

OpenSlide reads them; tiffslide what OpenSlide does not know, e.g. TIFFs made of strips and the
smaller levels of OME-TIFFs.
"""

import hashlib
import logging
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from PIL import Image

from medssl.data.slide.ome import is_ome, ome_properties
from medssl.data.slide.pyramid import PyramidReader
from medssl.errors import DataError

_GENERIC = "generic-tiff"  # OpenSlide's name of TIFFs of which it knows no more
_LARGEST_TILE = 2**26  # pixels of a tile in the file; scanners' have 2**16 to 2**20
_ENDS = 2**20  # bytes of each end of a file that tell it from others


class SlideReader(Protocol):
    """An open slide; its methods may be called from several threads at once."""

    @property
    def path(self) -> Path:
        """The file, or its index where a slide has several."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in level-0 pixels."""

    @property
    def mpp(self) -> float | None:
        """Microns per level-0 pixel, mean of both axes, or None where the slide is silent."""

    @property
    def objective_power(self) -> float | None:
        """Magnification of the objective, or None where the slide is silent."""

    @property
    def levels(self) -> tuple[float, ...]:
        """Downsampling of each level; the first is 1."""

    def read(
        self, x: float, y: float, width: float, height: float, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        """A region given in level-0 pixels, as uint8 [H, W, 3] RGB of `size` = (W, H).

        White where the slide holds nothing. By default `size` is (width, height).

        Raises:
            DataError: the file is damaged there.
        """

    def thumbnail(self, side: int) -> np.ndarray:
        """The whole slide, uint8 [H, W, 3] RGB, with at most `side` pixels a side."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_slide(path: Path) -> SlideReader:
    """Open a whole-slide file.

    Raises:
        DataError: there is no such file, or it is truncated, damaged or no slide.
    """
    import openslide

    if not path.exists():
        raise DataError(f"there is no slide {path}", do="check the path")
    try:
        handle = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        return _by_tiffslide(path, _ome_description(path), None)
    except openslide.OpenSlideError as error:
        raise _unreadable(path) from error
    try:
        description = _ome_description(path)
        if description is not None and handle.properties.get("openslide.vendor") == _GENERIC:
            return _by_tiffslide(path, description, handle)
    except BaseException:
        handle.close()
        raise
    return PyramidReader(path, handle, "openslide", (openslide.OpenSlideError,), nullcontext())


def slide_digest(path: Path) -> str:
    """16 hex characters that tell a slide from others: of its size and both ends, not all of it."""
    length = path.stat().st_size
    digest = hashlib.sha256(str(length).encode())
    with path.open("rb") as file:
        digest.update(file.read(_ENDS))
        file.seek(max(0, length - _ENDS))
        digest.update(file.read(_ENDS))
    return digest.hexdigest()[:16]


class _FastAtFullSize:
    """A slide of tiffslide whose level 0 is read by OpenSlide, faster and by threads at once."""

    def __init__(self, whole: Any, full_size: Any) -> None:
        self.dimensions = whole.dimensions
        self.level_downsamples = whole.level_downsamples
        self.level_dimensions = whole.level_dimensions
        self.properties = whole.properties
        self._whole, self._full_size, self._alone = whole, full_size, threading.Lock()

    def read_region(self, place: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        """See `read_region` of both libraries: level 0 by OpenSlide, the others by tiffslide."""
        if level == 0:
            found: Image.Image = self._full_size.read_region(place, 0, size)
        else:
            with self._alone:
                found = self._whole.read_region(place, level, size)
        return found

    def close(self) -> None:
        """Close both."""
        self._whole.close()
        self._full_size.close()


def _by_tiffslide(path: Path, description: str | None, full_size: Any) -> PyramidReader:
    """The slide by tiffslide.

    Args:
        path: the file.
        description: its OME-XML, if it has any.
        full_size: the slide opened by OpenSlide, if it can; is closed with the reader.
    """
    import openslide
    import tiffslide

    stated = {} if description is None else ome_properties(description, path)
    try:
        handle: Any = tiffslide.TiffSlide(path)
        _must_be_colours(path, handle)
        if full_size is None:
            return PyramidReader(path, handle, "tiffslide", (Exception,), threading.Lock(), stated)
        interleaved = handle.properties["tiffslide.series-axes"] == "YXS"
        if interleaved and full_size.dimensions == handle.dimensions:
            handle = _FastAtFullSize(handle, full_size)
            return PyramidReader(path, handle, "tiffslide", (Exception,), nullcontext(), stated)
        reader = PyramidReader(path, handle, "tiffslide", (Exception,), threading.Lock(), stated)
        full_size.close()
        return reader
    except DataError:
        raise
    except Exception as error:  # whatever its TIFF reader stumbles over
        if full_size is None:
            raise _unreadable(path) from error
    failures = (openslide.OpenSlideError,)  # it holds less than tiffslide wants to know
    return PyramidReader(path, full_size, "openslide", failures, nullcontext(), stated)


def _must_be_colours(path: Path, handle: Any) -> None:
    series = handle.ts_tifffile.series[handle.properties["tiffslide.series-index"]]
    sizes = dict(zip(series.axes, series.shape, strict=True))
    channels = sizes.get("S", sizes.get("C", 1))
    if series.dtype != np.uint8 or channels not in (1, 3, 4):
        raise DataError(
            f"{path} is no slide in red, green and blue",
            f"it has {channels} channels of {series.dtype}",
            "export it as RGB with 8 bits a channel",
        )


def _ome_description(path: Path) -> str | None:
    """The OME-XML of a TIFF, or None.

    Raises:
        DataError: pixels lie beyond the file's end, which the libraries would only notice later, or
            the tiles cannot be held in memory.
    """
    import tifffile

    # tifffile would log what is reported here.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    length = path.stat().st_size
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = list(tiff.pages)
            description = str(tiff.pages[0].description)
            try:
                pages += [part for page in tiff.pages for part in page.pages or ()]
            except Exception as error:  # smaller levels that are not there
                raise _unreadable(path) from error
    except DataError:
        raise
    except Exception:
        # No TIFF, or one whose directory only the library that opens it understands.
        return None
    if not all(_is_sound(page, length) for page in pages):
        raise _unreadable(path)
    return description if is_ome(description) else None


def _is_sound(page: Any, length: int) -> bool:
    """Whether the pixels of a TIFF's page lie in a file of `length` bytes, in tiles of a sane size.

    For want of the memory of a tile OpenSlide would end the process.
    """
    try:
        if page.is_tiled and page.tilewidth * page.tilelength > _LARGEST_TILE:
            return False
        places = zip(page.dataoffsets, page.databytecounts, strict=False)
        return all(offset + count <= length for offset, count in places)
    except TypeError:  # a tag is a list where a number belongs
        return False


def _unreadable(path: Path) -> DataError:
    empty = path.is_file() and path.stat().st_size == 0
    return DataError(
        f"{path} cannot be read as a slide",
        "it is empty" if empty else "it is truncated, damaged or not a slide",
        "copy it again from where it came, or remove it",
    )
