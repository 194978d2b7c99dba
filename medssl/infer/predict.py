"""One case from volume to labels and uncertainty on its own grid.

Legend: C channels, K classes, X Y Z voxels of the source grid, x y z voxels of the network grid.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medssl.data.geometry import Geometry
from medssl.data.preprocess import Record, preprocess
from medssl.data.resample import nearest
from medssl.data.volume import Volume
from medssl.infer.postprocess import fill_holes, largest_component
from medssl.infer.restore import restore_labels, restore_map
from medssl.infer.uncertainty import entropy, flipped
from medssl.infer.window import sliding_labels, sliding_window
from medssl.pipeline.settings import PredictSettings, PreprocessSettings

LOGITS_LIMIT = 2**31
"""Bytes of whole-volume logits above which labels are made slab by slab instead."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of one case, on the case's own grid.

    Attributes:
        labels: [X, Y, Z] uint8 class indices.
        entropy: [X, Y, Z] float32 in [0, 1], or None where it was not asked for.
        probabilities: [K, X, Y, Z] float32, or None where they were not asked for.
    """

    geometry: Geometry
    labels: np.ndarray
    entropy: np.ndarray | None = None
    probabilities: np.ndarray | None = None


def predict_case(
    predictor: nn.Module,
    volume: Volume,
    treatment: PreprocessSettings,
    patch: tuple[int, int, int],
    settings: PredictSettings,
    classes: int,
    device: torch.device,
) -> Prediction:
    """Preprocess, slide the window, restore.

    Where only labels are asked for and the logits of the volume would pass `LOGITS_LIMIT`, no
    logits of the whole volume are ever held; the labels then go back to the source grid by nearest
    neighbour instead of by interpolated logits.
    """
    array, record = preprocess(volume, treatment)
    image = torch.from_numpy(np.ascontiguousarray(array))
    answer = flipped(predictor, (0, 1, 2)) if settings.flips else predictor
    how = _window(patch, settings, device, float(image.min()))
    large = 4 * classes * image[0].numel() > LOGITS_LIMIT
    if large and set(settings.save) == {"labels"}:
        labels = sliding_labels(image, answer, patch, **how)
        return Prediction(volume.geometry, _clean(_restored(labels, record), settings))
    logits = sliding_window(image, answer, patch, **how).cpu()
    labels = _clean(restore_labels(logits, record), settings)
    return Prediction(volume.geometry, labels, *_maps(logits, record, settings))


def _window(
    patch: tuple[int, int, int], settings: PredictSettings, device: torch.device, outside: float
) -> dict[str, Any]:
    """Arguments of the sliding window."""
    return {
        "stride": settings.stride or tuple(max(1, side // 2) for side in patch),
        "weighting": settings.weighting,
        "window_batch": settings.window_batch,
        "device": device,
        "outside": outside,
    }


def _maps(
    logits: Tensor, record: Record, settings: PredictSettings
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Entropy and probabilities on the source grid, as far as they are asked for."""
    wanted = set(settings.save)
    if wanted <= {"labels"}:
        return None, None
    probabilities = logits.softmax(0)
    uncertain = restored = None
    if "entropy" in wanted:
        uncertain = restore_map(entropy(probabilities).numpy(), record)
    if "probabilities" in wanted:
        foreground = [restore_map(one, record) for one in probabilities[1:].numpy()]
        # Outside the crop everything is background.
        restored = np.stack([1 - np.sum(foreground, axis=0, dtype=np.float32), *foreground])
    return uncertain, restored


def _restored(labels: np.ndarray, record: Record) -> np.ndarray:
    """Class indices [x, y, z] on the source grid; background outside the crop."""
    whole = np.zeros(record.source.shape, np.uint8)
    record.turned(whole)[...] = nearest(labels, record.turned_shape)
    return whole


def _clean(labels: np.ndarray, settings: PredictSettings) -> np.ndarray:
    """Largest component and hole filling, as asked for."""
    classes = range(1, int(labels.max()) + 1)
    if settings.largest_component:
        labels = largest_component(labels, classes)
    return fill_holes(labels) if settings.fill_holes else labels
