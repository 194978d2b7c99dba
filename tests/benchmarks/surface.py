"""HD95 and ASD of a case, against medpy's and MONAI's: the same pairs, CPU seconds, one thread.

    python -m tests.benchmarks.surface

Every side computes HD95 and ASD of one binary pair at a spacing of its own; ours is the whole of
`case_scores`, overlap, ASSD and NSD included. medpy is GPL, so it is no dependency: it is measured
where it can be imported (`pip install medpy` in an environment of its own), and only then are our
values held against its. MONAI takes the larger of two directed percentiles, so its HD95 differs.
The real pairs need MEDSSL_DATA: a label against itself, deformed. Ends with 1 where a limit is
broken.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from medssl.data.volume import read_mask
from medssl.environment import data_root
from medssl.evaluate.segmentation import case_scores

MEDPY_LIMIT, MONAI_LIMIT, TOLERANCE = 1 / 8, 1 / 2, 1e-6

Values = tuple[float, float]


@dataclass(frozen=True)
class Pair:
    name: str
    prediction: np.ndarray
    truth: np.ndarray
    spacing: tuple[float, float, float]


def pairs() -> Iterator[Pair]:
    for file, name in (
        ("hippocampus/labelsTr/hippocampus_001.nii.gz", "hippocampus"),
        ("left_atrium/train/*/label.nii.gz", "left atrium"),
    ):
        for path in sorted(data_root().glob(file))[:1]:
            label = read_mask(path)
            truth = label.array[0] > 0
            yield Pair(name, deformed(truth, 1), truth, label.geometry.spacing)
    for shape in ((112, 112, 80), (256, 256, 160)):
        size = "x".join(map(str, shape))
        truth = blob(shape, 0)
        yield Pair(f"{size}, alike", blob(shape, 1), truth, (0.9, 1.1, 2.0))
        specks = np.random.default_rng(2).random(shape) < 0.002
        yield Pair(f"{size}, specks", blob(shape, 1) | specks, truth, (0.9, 1.1, 2.0))
        yield Pair(f"{size}, a core", blob(shape, 1, 0.5), truth, (0.9, 1.1, 2.0))


def blob(shape: tuple[int, int, int], seed: int, size: float = 1.0) -> np.ndarray:
    """An ellipsoid of half the volume's sides with a rough surface."""
    rough = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3)
    axes = np.ogrid[tuple(slice(-2, 2, length * 1j) for length in shape)]
    return sum(axis**2 for axis in axes) ** 0.5 + 0.08 * rough / rough.std() < size


def deformed(mask: np.ndarray, seed: int) -> np.ndarray:
    """Moved smoothly by a voxel or two."""
    rng = np.random.default_rng(seed)
    shift = np.stack([gaussian_filter(rng.standard_normal(mask.shape), 4) for _ in range(3)])
    where = np.indices(mask.shape) + 1.5 * shift / shift.std()
    return map_coordinates(mask.astype(np.float32), where, order=1) > 0.5


def ours(pair: Pair) -> Values:
    prediction, truth = pair.prediction.view(np.uint8), pair.truth.view(np.uint8)
    (score,) = case_scores(prediction, truth, pair.spacing, ("background", "it"), 1.0)
    return score.hd95, score.asd


def medpy() -> Callable[[Pair], Values] | None:
    try:
        from medpy.metric.binary import asd, hd95
    except ImportError:
        return None

    def both(pair: Pair) -> Values:
        masks = pair.prediction, pair.truth
        return float(hd95(*masks, pair.spacing)), float(asd(*masks, pair.spacing))

    return both


def monai() -> Callable[[Pair], Values]:
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    torch.set_num_threads(1)

    def both(pair: Pair) -> Values:
        masks = [torch.from_numpy(mask)[None, None] for mask in (pair.prediction, pair.truth)]
        more = {"include_background": True, "spacing": pair.spacing}
        hd95 = compute_hausdorff_distance(*masks, percentile=95, **more)
        return float(hd95), float(compute_average_surface_distance(*masks, **more))

    return both


def measured(compute: Callable[[Pair], Values], pair: Pair) -> tuple[float, Values]:
    """Best CPU seconds of several, and the values."""
    best, spent = float("inf"), 0.0
    for _ in range(5):
        begin = time.process_time()
        values = compute(pair)
        took = time.process_time() - begin
        best, spent = min(best, took), spent + took
        if spent > 5:
            break
    return best, values


def main() -> int:
    reference, other = medpy(), monai()
    failed = False
    if reference is None:
        print("medpy cannot be imported: only MONAI is measured")
    print(f"{'pair':24} {'ours ms':>8} {'of MONAI':>9} {'of medpy':>9} {'HD95':>9} {'ASD':>8}")
    for pair in pairs():
        took, values = measured(ours, pair)
        of_monai = took / measured(other, pair)[0]
        failed |= of_monai > MONAI_LIMIT
        of_medpy = ""
        if reference is not None:
            theirs, expected = measured(reference, pair)
            of_medpy = f"1/{theirs / took:.1f}"
            wrong = max(abs(a - b) for a, b in zip(values, expected, strict=True)) > TOLERANCE
            failed |= wrong or took / theirs > MEDPY_LIMIT
            of_medpy += " (values differ)" if wrong else ""
        print(
            f"{pair.name:24} {1000 * took:8.2f} {f'1/{1 / of_monai:.1f}':>9} {of_medpy:>9} "
            f"{values[0]:9.4f} {values[1]:8.4f}"
        )
    print("limits: 1/2 of MONAI, 1/8 of medpy" + (": BROKEN" if failed else ": kept"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
