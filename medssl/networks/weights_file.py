"""Named tensors from a local file of weights, of which nothing is ever carried out.

A file is read as safetensors, or as a checkpoint of torch by its unpickler for weights alone, which
knows a fixed list of inert types. What would take more memory than the file has bytes is refused.
"""

import pathlib
import struct
import warnings
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from medssl.errors import DataError, UsageError
from medssl.names import some_of

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""Endings of files of weights; all but the first are torch's."""

WITHIN = ("teacher", "student", "model", "network_weights", "state_dict", "net")
"""Entries of a training checkpoint that may hold the weights; the first that is there is read."""

_DAMAGE = (
    UnpicklingError, RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError,
    AttributeError, ArithmeticError, AssertionError, MemoryError, RecursionError, struct.error,
    zlib.error, zipfile.BadZipFile, NotImplementedError,
)  # fmt: skip
"""Errors that torch raises on damaged files."""

MOST_TIMES = 8
"""Tensors may take so many times the bytes of their file: some libraries list one several times."""

CONVERT = (
    "convert it once where its library is installed and the file is trusted: "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=False).state_dict(), "
    "'FILE.safetensors')"
)
"""What to do with a file that holds a pickled network."""


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds.

    Attributes:
        path: where it is.
        tensors: by name, on the CPU.
        beside: what else a training checkpoint says, as far as it is plain values.
    """

    path: Path
    tensors: dict[str, Tensor]
    beside: dict[str, Any]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named tensors of a .safetensors, .pth, .pt, .bin or .ckpt file; see `read_file`."""
    return read_file(path).tensors


def read_file(path: Path) -> WeightsFile:
    """A file of weights; no pickled code is run.

    Raises:
        UsageError: there is no such file.
        DataError: it holds no weights, is damaged, or would unfold to more than it has bytes.
    """
    if not path.is_file():
        raise UsageError(f"there is no weights file {path}", do="give the path of a local file")
    try:
        safe = path.suffix == ".safetensors"
        plain = _read_safetensors(path) if safe else _read_torch(path)
    except _DAMAGE as error:
        raise _unread(path) from error
    key = next((key for key in WITHIN if isinstance(plain.get(key), Mapping)), None)
    inner = plain if key is None else plain[key]
    tensors = {
        name: value
        for name, value in inner.items()
        if isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided
    }
    if not tensors:
        raise DataError(f"{path} holds no named tensors", do="give a file of weights")
    _must_be_held(path, tensors)
    beside = {} if key is None else {k: v for k, v in plain.items() if k != key}
    return WeightsFile(path, tensors, beside)


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        loaded: dict[str, Any] = load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return loaded


def _read_torch(path: Path) -> dict[str, Any]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(one.file_size for one in archive.infolist()) > path.stat().st_size:
                raise ValueError("it unfolds to more than it has bytes")
    with torch.serialization.safe_globals(_inert()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a pickle's protocol; what is refused is told
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    return dict(loaded) if isinstance(loaded, Mapping) else {}


def _inert() -> list[Any]:
    """Types of plain values that training checkpoints keep beside their weights.

    DINO's and MAE's keep their command line, a Namespace; nnU-Net's keep numbers of numpy.
    """
    import numpy as np
    from numpy._core import multiarray

    numbers = [type(np.dtype(kind)) for kind in "?bhilqBHILQefd"]
    made = [multiarray.scalar, multiarray._reconstruct]
    former = [(one, f"numpy.core.multiarray.{one.__name__}") for one in made]
    paths = [pathlib.PosixPath, pathlib.PurePosixPath]
    return [Namespace, np.dtype, np.ndarray, *made, *former, *numbers, *paths]


def _must_be_held(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are larger than what the file holds of them.

    Raises:
        DataError: such a file takes few bytes on the disk and fills the memory.
    """
    total = 0
    for name, value in tensors.items():
        size = value.numel() * value.element_size()
        total += size
        if size > value.untyped_storage().nbytes():
            raise DataError(
                f"{path} cannot be read as weights",
                f"{name} has more values than the file holds of it",
                "take another copy",
            )
    if total > MOST_TIMES * path.stat().st_size:
        raise DataError(
            f"{path} cannot be read as weights",
            f"its tensors take {total} bytes, and the file has {path.stat().st_size}",
            "take another copy",
        )


def _unread(path: Path) -> DataError:
    held = _pickled(path)
    why = "it is damaged, or holds objects besides tensors, which are never unpickled"
    do = "give a .safetensors file, or a .pth that torch.load(weights_only=True) reads"
    if held:
        why = f"it holds objects besides tensors, which are never unpickled: {some_of(held)}"
        do = f"give a .safetensors file, or {CONVERT}"
    return DataError(f"{path} cannot be read as weights", why, do)


def _pickled(path: Path) -> list[str]:
    """Names of what a whole file would have carried out; empty where that cannot be told."""
    if path.suffix == ".safetensors" or not zipfile.is_zipfile(path):
        return []
    try:
        with torch.serialization.safe_globals(_inert()):
            found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except _DAMAGE:
        return []
    return sorted(found)
