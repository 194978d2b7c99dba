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
from medssl.infer.scan_traits import PARTS, bottleneck, look
from medssl.networks.ensemble import Ensemble
from medssl.train.checkpoint import Checkpoint, load_checkpoint
from medssl.train.description import CHECKSUMS, DESCRIPTION, GUARD, WEIGHTS, checksums, verified


@dataclass(frozen=True)
class Watch:
    """A guard at work.

    Attributes:
        predictor: all networks of the checkpoint; the first is asked for features.
    """

    guard: Guard
    predictor: Ensemble
    patch: tuple[int, int, int]
    device: torch.device

    def __call__(self, volume: Volume, image: np.ndarray) -> Verdict:
        """Of a scan as its file holds it, and as the network sees it [C, X, Y, Z]."""
        network, raw = self.predictor.members[0], quantiles_of(volume.array)
        at = network, self.guard.module, image, volume.geometry, raw, self.patch, self.device
        return self.guard.judge(look(*at))


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
    watch = Watch(guard, predictor, found.patch, device)
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
    network, patch = predictor.members[0].to(device), found.patch
    module = bottleneck(network, len(found.channels), patch, device)
    step = max(1, math.ceil(len(cases) / MOST))
    looks = [
        look(network, module, one.image, one.record.source, np.array(one.raw), patch, device)
        for one in cases[::step]
    ]
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
        save_file(plain, beside / GUARD, {"module": guard.module})
        (beside / CHECKSUMS).write_text(checksums(beside))


def read_guard(folder: Path) -> Guard | None:
    """The guard of a checkpoint; None where it has none.

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
            module = (file.metadata() or {})["module"]
        spreads = {part: _spread(arrays, number) for number, part in enumerate(PARTS)}
        scores = _finite(arrays["scores"], 1)
    except (SafetensorError, KeyError, ValueError) as error:
        raise _damaged(folder, f"it does not hold what medssl writes: {error}") from error
    return Guard(module, spreads, np.sort(scores))


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
