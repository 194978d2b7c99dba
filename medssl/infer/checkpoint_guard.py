"""The guard of a checkpoint: learnt once it is trained, kept beside the weights, asked of scans.

It is a file of safetensors, with a checksum and without pickle.
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medssl.atomic import appearing
from medssl.data.cache import CachedCase
from medssl.data.geometry import Geometry
from medssl.data.quantiles import quantiles_of
from medssl.data.volume import Volume
from medssl.errors import DataError
from medssl.infer.guard import MOST, Guard, Spread, Verdict
from medssl.infer.scan_traits import PARTS, Listener, bottleneck, look, windows_of
from medssl.infer.window_grid import Triple
from medssl.networks.ensemble import Ensemble
from medssl.train.checkpoint import Checkpoint, load_checkpoint
from medssl.train.description import CHECKSUMS, DESCRIPTION, GUARD, WEIGHTS, checksums, verified

_LAID = ", ".join(PARTS)
"""What a file measures, in its order."""

_BEFORE = PARTS[:-1]
"""What files of before contrast was measured hold; they judge scans as they did then."""


@dataclass(frozen=True)
class Watch:
    """A guard at work.

    Attributes:
        predictor: all networks of the checkpoint; the first is asked for features.
        patch: voxels of a window.
        stride: voxels from one window to the next in which training scans were looked at.
        mirrored: axes of the network grid along which training mirrored.
    """

    guard: Guard
    predictor: Ensemble
    patch: Triple
    stride: Triple
    mirrored: tuple[int, ...]
    device: torch.device

    def listen(self, image: np.ndarray, stride: Triple | None = None) -> Listener:
        """What listens to the prediction of a scan [C, X, Y, Z], whose windows have a stride."""
        windows = windows_of(image, self.patch, stride or self.stride)
        return Listener(self.predictor.members[0], self.guard.module, windows)

    def __call__(self, volume: Volume, image: np.ndarray, heard: Listener | None = None) -> Verdict:
        """Of a scan as its file holds it, and as the network sees it [C, X, Y, Z].

        Args:
            heard: has listened to its prediction; without, the network is asked now.
        """
        features = (heard or self.listen(image)).features(image, self.device)
        raw, grid = quantiles_of(volume.array), volume.geometry
        return self.guard.judge(look(image, grid, raw, self.patch, self.mirrored, features))


def watch_of(
    folder: Path, predictor: Ensemble, found: Checkpoint, device: torch.device
) -> Watch | None:
    """The guard of a checkpoint, ready to be asked; None where it has none.

    Args:
        predictor: of the checkpoint, on the device.

    Raises:
        DataError: the guard is damaged, or of another network.
    """
    guard = read_guard(folder)
    if guard is None:
        return None
    mirrored = found.mirrored or ()
    watch = Watch(guard, predictor, found.patch, _stride(found), mirrored, device)
    grid = Geometry(found.patch, np.eye(4))
    empty = Volume(np.zeros((len(found.channels), *found.patch), np.float32), grid, "")
    try:
        watch(empty, empty.array)
    except (AttributeError, ValueError, IndexError) as error:
        raise _damaged(folder, "it is of another network") from error
    return watch


def learn_guard(folder: Path, cases: Sequence[CachedCase], device: torch.device) -> None:
    """Write the guard of a trained checkpoint, where it has none and there are enough scans.

    Args:
        cases: of training, labelled or not.
    """
    if (folder / GUARD).is_file():
        return
    predictor, found = load_checkpoint(folder)
    network, patch, mirrored = predictor.members[0].to(device), found.patch, found.mirrored or ()
    module = bottleneck(network, len(found.channels), patch, device)
    looks, count = [], min(MOST, len(cases))
    for number in range(count):
        one = cases[number * len(cases) // count]
        image, stride = one.image, _stride(found)
        listener = Listener(network, module, windows_of(image, patch, stride))
        features = listener.features(image, device)
        source, raw = one.record.source, np.array(one.raw)
        looks.append(look(image, source, raw, patch, mirrored, features))
    if guard := Guard.of(module, looks):
        save_guard(folder, guard)


def save_guard(folder: Path, guard: Guard) -> None:
    """Add the guard to a checkpoint folder, which is replaced as a whole."""
    from safetensors.numpy import save_file

    arrays = {"scores": guard.scores}
    for number, part in enumerate(PARTS):
        spread = guard.spreads[part]
        arrays |= {
            f"{number}.tolerance": spread.tolerance,
            f"{number}.mean": spread.mean,
            f"{number}.precision": spread.precision,
            f"{number}.distances": np.array([spread.middle, spread.width]),
        }
    with appearing(folder, durable=True) as beside:
        beside.mkdir()
        for name in (WEIGHTS, DESCRIPTION):
            shutil.copyfile(folder / name, beside / name)
        plain = {name: np.ascontiguousarray(one, np.float64) for name, one in arrays.items()}
        save_file(plain, beside / GUARD, {"module": guard.module, "parts": _LAID})
        (beside / CHECKSUMS).write_text(checksums(beside))


def read_guard(folder: Path) -> Guard | None:
    """The guard of a checkpoint; None where it has none, or one that measures other things.

    Raises:
        DataError: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not (folder / GUARD).is_file():
        return None
    verified(folder, GUARD)
    try:
        with safe_open(folder / GUARD, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            known = file.metadata() or {}
        measured = tuple(known.get("parts", "").split(", "))
        if measured not in (PARTS, _BEFORE):
            return None
        spreads = {part: _spread(arrays, number) for number, part in enumerate(measured)}
        scores = _finite(arrays["scores"], 1)
    except (SafetensorError, KeyError, ValueError) as error:
        raise _damaged(folder, f"it does not hold what medssl writes: {error}") from error
    return Guard(known["module"], spreads, np.sort(scores))


def _stride(found: Checkpoint) -> Triple:
    """That of the windows whose features training scans are known by."""
    x, y, z = found.predict.stride or tuple(max(1, side // 2) for side in found.patch)
    return x, y, z


def _damaged(folder: Path, why: str) -> DataError:
    return DataError(
        f"{folder / GUARD} cannot be used",
        why,
        "copy the checkpoint folder again, whole, or delete this file to predict without it",
    )


def _spread(arrays: dict[str, np.ndarray], number: int) -> Spread:
    tolerance, mean = (_finite(arrays[f"{number}.{name}"], 1) for name in ("tolerance", "mean"))
    precision = _finite(arrays[f"{number}.precision"], 2)
    middle, width = (float(one) for one in _finite(arrays[f"{number}.distances"], 1))
    same = tolerance.shape == mean.shape == precision.shape[:1] == precision.shape[1:]
    if not same or tolerance.min() <= 0 or width <= 0 or not math.isfinite(middle):
        raise ValueError(f"part {number} does not fit together")
    return Spread(tolerance, mean, precision, middle, width)


def _finite(array: np.ndarray, axes: int) -> np.ndarray:
    if array.dtype != np.float64 or array.ndim != axes or not array.size:
        raise ValueError("an array has another type or shape")
    if not np.isfinite(array).all():
        raise ValueError("an array holds values that are not finite")
    return array
