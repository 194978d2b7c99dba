"""One case from volume to labels and uncertainty on its own grid.

Legend: C channels, K classes or regions, X Y Z voxels of the source grid, x y z voxels of the
network grid.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medssl.data.geometry import Geometry
from medssl.data.record import Record
from medssl.data.volume import Volume
from medssl.errors import UsageError
from medssl.infer.checkpoint_guard import Watch
from medssl.infer.cleaning import Cleaning
from medssl.infer.guard import Verdict
from medssl.infer.restore import restore_classes, restore_labels, restore_map
from medssl.infer.scan_traits import Listener
from medssl.infer.sparing import Note, lacks_memory, nobody
from medssl.infer.uncertainty import Predictor, entropy, flipped
from medssl.infer.window import Slab, sliding_window, sliding_window_slabs
from medssl.networks.ensemble import Ensemble
from medssl.networks.outputs import Outputs
from medssl.settings import PredictSettings
from medssl.transforms.compose import Preparation

LOGITS_LIMIT = 2**31
"""Bytes of whole-volume logits above which labels are made slab by slab instead."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of one case, on the case's own grid.

    Attributes:
        labels: [X, Y, Z] uint8 class indices.
        entropy: [X, Y, Z] float32 in [0, 1], or None where it was not asked for.
        probabilities: [K, X, Y, Z] float32 of what the network answers with, or None where they
            were not asked for.
        members: labels of each network by itself; empty where they were not asked for, there is one
            network, or the volume is too large to hold what each says.
        verdict: how unlike the training scans it is; None where nobody watches.
    """

    geometry: Geometry
    labels: np.ndarray
    entropy: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    members: tuple[np.ndarray, ...] = ()
    verdict: Verdict | None = None


def predict_case(
    predictor: nn.Module,
    volume: Volume,
    prepare: Preparation,
    patch: tuple[int, int, int],
    settings: PredictSettings,
    outputs: Outputs,
    device: torch.device,
    cleaning: Cleaning,
    mirrored: tuple[int, ...] = (),
    apart: bool = False,
    watch: Watch | None = None,
    note: Note = nobody,
) -> Prediction:
    """Preprocess, slide the window, restore, correct.

    `apart` asks for the labels of each network of an ensemble too, which are not computed twice;
    `watch` says how unlike the training scans this one is.

    With `settings.flips` the answers to copies mirrored along the axes `mirrored` of the network
    grid are averaged: those that training mirrored, as it has seen no others.

    Where the logits of the volume would pass `LOGITS_LIMIT`, or memory does not suffice for them,
    they are never held whole: labels and entropy are made slab by slab, and labels go back to the
    source grid by nearest neighbour instead of by interpolated logits. `note` is told what memory
    does not suffice for.

    Raises:
        UsageError: probabilities of such a volume are asked for; or a GPU has not memory enough
            for one window.
    """
    prepared = prepare(volume)
    image, record = torch.from_numpy(prepared.image), prepared.record
    how = _window(patch, settings, device, float(image.min())) | {"note": note}
    size = 4 * outputs.count * image[0].numel()
    count = len(predictor.members) if apart and isinstance(predictor, Ensemble) else 1
    if isinstance(predictor, Ensemble) and 1 < count < LOGITS_LIMIT / size - 1:
        answer = _side_by_side(_answer(_stacked(predictor), settings, mirrored, outputs))
    else:
        answer = _answer(predictor, settings, mirrored, outputs)

    def heard() -> Listener | None:
        return watch.listen(prepared.image, how["stride"]) if watch else None

    def judged(listener: Listener | None) -> Verdict | None:
        return watch(volume, prepared.image, listener) if watch else None

    whole = None
    if size <= LOGITS_LIMIT:
        listener = heard()
        try:
            with listener or nullcontext():
                told = listener.tell if listener else None
                summed = sliding_window(image, answer, patch, told=told, **how).cpu()
            whole = _logits(summed, settings, outputs)
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            note("memory does not suffice for a whole volume: masks are made slab by slab")
    if whole is None:
        listener = heard()
        with listener or nullcontext():
            told = listener.tell if listener else None
            alone = _answer(predictor, settings, mirrored, outputs)
            slabs = sliding_window_slabs(image, alone, patch, told=told, **how)
            made = _streamed(slabs, record, settings, cleaning, outputs)
    else:
        made = _restored(whole, record, settings, cleaning, outputs)
    return replace(made, verdict=judged(listener))


def _answer(
    predictor: Predictor, settings: PredictSettings, mirrored: tuple[int, ...], outputs: Outputs
) -> Predictor:
    """What is averaged over windows."""
    answer = flipped(predictor, mirrored, outputs) if settings.flips else predictor
    return _probabilities(answer, outputs) if settings.average == "probabilities" else answer


def _stacked(predictor: Ensemble) -> Predictor:
    """The answers of the ensemble, then of each of its M members, [(1 + M) B, K, x, y, z]."""

    def answer(windows: Tensor) -> Tensor:
        apart = predictor.answers(windows)
        return torch.cat([predictor.mean(apart)[None], apart]).flatten(0, 1)

    return answer


def _side_by_side(stacked: Predictor) -> Predictor:
    """Such answers as channels of each window, [B, (1 + M) K, x, y, z]."""

    def answer(windows: Tensor) -> Tensor:
        found = stacked(windows)
        apart = found.reshape(-1, len(windows), *found.shape[1:])
        return apart.transpose(0, 1).flatten(1, 2)

    return answer


def _restored(
    whole: Tensor,
    record: Record,
    settings: PredictSettings,
    cleaning: Cleaning,
    outputs: Outputs,
) -> Prediction:
    """Labels and maps of a volume by its logits [(1 + M) K, x, y, z], those of M networks apart."""
    logits, *others = whole.reshape(-1, outputs.count, *whole.shape[1:])
    voxel, regions = record.source.voxel, outputs.regions
    labels, *members = (
        cleaning(restore_labels(one, record, regions), voxel) for one in (logits, *others)
    )
    maps = _maps(logits, record, settings, outputs)
    return Prediction(record.source, labels, *maps, tuple(members))


def _streamed(
    slabs: Iterable[Slab],
    record: Record,
    settings: PredictSettings,
    cleaning: Cleaning,
    outputs: Outputs,
) -> Prediction:
    """Labels and entropy of a volume whose logits are never held whole."""
    if "probabilities" in settings.save:
        raise UsageError(
            f"probabilities of a volume of {record.network.shape} voxels do not fit into memory",
            "the logits of all classes pass what is held at a time",
            "leave `probabilities` out of predict.save",
        )
    labels = np.zeros(record.network.shape, np.uint8)
    wanted = "entropy" in settings.save
    unsure = np.zeros(record.network.shape if wanted else (0, 0, 0), np.float32)
    for where, sums in slabs:
        logits = _logits(sums, settings, outputs)
        labels[where] = outputs.labels(logits).cpu().numpy()
        if wanted:
            unsure[where] = _doubt(logits, outputs).cpu().numpy()
    return Prediction(
        record.source,
        cleaning(restore_classes(labels, record), record.source.voxel),
        restore_map(unsure, record) if wanted else None,
    )


def _probabilities(predictor: Predictor, outputs: Outputs) -> Predictor:
    """The predictor's softmax, to be averaged over windows as the field's papers do."""
    return lambda windows: outputs.probabilities(predictor(windows).float())


def _logits(averaged: Tensor, settings: PredictSettings, outputs: Outputs) -> Tensor:
    """The average over the windows, as logits."""
    return averaged if settings.average == "logits" else outputs.logits(averaged)


def _doubt(logits: Tensor, outputs: Outputs) -> Tensor:
    """Entropy as a share of the greatest possible; of regions the mean of each region's."""
    probabilities = outputs.probabilities(logits, dim=0)
    if not outputs.regions:
        return entropy(probabilities)
    return torch.stack([entropy(torch.stack([one, 1 - one])) for one in probabilities]).mean(0)


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
    logits: Tensor, record: Record, settings: PredictSettings, outputs: Outputs
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Entropy and probabilities on the source grid, as far as they are asked for."""
    wanted = set(settings.save)
    if wanted <= {"labels"}:
        return None, None
    probabilities = outputs.probabilities(logits, dim=0)
    uncertain = restored = None
    if "entropy" in wanted:
        uncertain = restore_map(_doubt(logits, outputs).numpy(), record)
    if "probabilities" in wanted and outputs.regions:
        restored = np.stack([restore_map(one, record) for one in probabilities.numpy()])
    elif "probabilities" in wanted:
        foreground = [restore_map(one, record) for one in probabilities[1:].numpy()]
        # Outside the crop everything is background.
        restored = np.stack([1 - np.sum(foreground, axis=0, dtype=np.float32), *foreground])
    return uncertain, restored
