"""Left atria of which a tenth is outlined: in slices, or in scribbles, to learn from partial truth.

    MEDSSL_DATA=... python -m tests.benchmarks.partial_truth FOLDER
    cd FOLDER && medssl study partial_truth_study --threads 1

Writes the masks of the training cases anew, with 255 where nobody has outlined anything, data specs
and a study beside them; images and the whole masks of the test cases are links. Slices: every tenth
axial slice of 2.5 mm, from a random one on. Scribbles: on every second such slice one line through
the inside of the atrium and one around it, drawn by formulas.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize

from medssl.data.spec import load_spec
from medssl.environment import data_root

UNKNOWN = 255
EVERY = 10
"""One slice in so many is outlined, so that this many cases cost as much as one whole mask."""

THICK = 2
"""Slices of the file, of 1.25 mm, in one of the pipeline's grid, of 2.5 mm."""

AWAY = 8
"""Voxels from the atrium at which a scribble says what it is not."""

Cut = Callable[[np.ndarray, np.random.Generator], np.ndarray]

SUPERVISED = ["method={name: supervised, noise: 0.05}", "train.steps=3000"]
SLICES, SCRIBBLES = ["data=data_specs/slices.yaml"], ["data=data_specs/scribbles.yaml"]
ARMS = {
    "dense": SUPERVISED,
    "dense_2": [*SUPERVISED, "split.labels=2"],
    "dense_2_tracoco": ["split.labels=2"],
    "slices": [*SLICES, *SUPERVISED],
    "slices_lent": [*SLICES, *SUPERVISED, "loss.slices.axes=z"],
    "slices_tracoco": SLICES,
    "scribbles": [*SCRIBBLES, *SUPERVISED, "loss=cross_entropy"],
    "scribbles_crf": [*SCRIBBLES, *SUPERVISED, "loss=cross_entropy", "loss.gated_crf.weight=0.1"],
    "scribbles_tracoco": [*SCRIBBLES, "loss=cross_entropy"],
}


def in_slices(mask: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A mask [X, Y, Z] of which every tenth slice along the last axis is known."""
    number = np.arange(mask.shape[2]) // THICK
    known = number % EVERY == draw.integers(min(EVERY, number[-1] + 1))
    return np.where(known, mask, UNKNOWN).astype(np.uint8)


def in_scribbles(mask: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A mask [X, Y, Z] of which lines alone are known, on every second slice of the grid."""
    found = np.full(mask.shape, UNKNOWN, np.uint8)
    first = int(draw.integers(2))
    for z in range(first * THICK, mask.shape[2], 2 * THICK):
        pair, lines = mask[:, :, z : z + THICK] > 0, found[:, :, z : z + THICK]
        outside = ~pair.any(2)
        far = _from_the_middle(outside.shape) if outside.all() else distance_transform_edt(outside)
        lines[(far >= AWAY) & (far < AWAY + 1)] = 0
        lines[skeletonize(pair.all(2))] = 1
    return found


def _from_the_middle(shape: tuple[int, ...]) -> np.ndarray:
    """Distance of each pixel from the middle of a slice that shows no atrium."""
    sides = np.meshgrid(*(np.arange(side) - side // 2 for side in shape), indexing="ij")
    return np.hypot(*sides)


def write_set(folder: Path, cut: Cut) -> None:
    """All cases of the left atrium, the masks of the training cases cut to what is known."""
    whole = data_root() / "left_atrium"
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        (folder / f"{part}.list").write_text((whole / f"{part}.list").read_text())
        for number, case in enumerate(sorted((whole / part).iterdir())):
            (folder / part / case.name).mkdir()
            for file in sorted(case.glob("*.nii.gz")):
                place = folder / part / case.name / file.name
                if part == "test" or file.name.startswith("image"):
                    place.symlink_to(file.resolve())
                    continue
                mask = nib.load(file)
                array = cut(np.asanyarray(mask.dataobj), np.random.default_rng([7, number]))
                nib.save(nib.Nifti1Image(array, mask.affine), place)


def write_specs(folder: Path) -> None:
    """Data specs of both sets, the pipeline and its study."""
    plain = load_spec("left_atrium").model_dump(mode="json", exclude={"name"}, exclude_none=True)
    for name in ("slices", "scribbles"):
        spec = plain | {"root": str(folder / name), "ignore": UNKNOWN}
        _write(folder / "data_specs" / f"{name}.yaml", spec)
    pipeline = {
        "title": "Left atrium of which a tenth is outlined", "extends": "left_atrium",
        "split": {"labels": 20, "validation": 0, "order": "shuffled"},
        "train": {"foreground": 0.33},
    }  # fmt: skip
    study = {
        "title": "Left atrium, slices and scribbles of 20 cases", "pipeline": "partial_truth",
        "labels": [20], "seeds": [0, 1, 2], "order": ["seed", "labels", "arm"],
        "arms": ARMS, "reference": ["dense"],
    }  # fmt: skip
    _write(folder / "pipelines" / "partial_truth.yaml", pipeline)
    _write(folder / "pipelines" / "partial_truth_study.yaml", study)


def _write(path: Path, plain: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(plain, sort_keys=False))


def main() -> None:
    """Write all of it, and say which share of the voxels is known."""
    folder = Path(sys.argv[1]).absolute()
    for name, cut in (("slices", in_slices), ("scribbles", in_scribbles)):
        write_set(folder / name, cut)
        masks = sorted((folder / name / "train").glob("*/label.nii.gz"))
        known = [np.mean(np.asanyarray(nib.load(one).dataobj) != UNKNOWN) for one in masks]
        print(f"{name}: {np.mean(known):.1%} of the voxels of {len(masks)} masks are known")
    write_specs(folder)


if __name__ == "__main__":
    main()
