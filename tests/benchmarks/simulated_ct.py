"""Simulated CT with small lesions, to try planning, sampling and training where foreground is rare.

    python -m tests.benchmarks.simulated_ct FOLDER [CASES]
    medssl run FOLDER split.labels=8 split.test=8

Not a patient: an oval body of fat and muscle in air, with a spine, a liver and a spleen of smooth
random outline, bright vessels, and in each liver one to three lesions of 8 to 16 mm, 25 to 45 HU
darker than it, under the noise of a CT. Scans show the portal venous phase; the same bodies can be
drawn in the late arterial one and without contrast agent. All follows from the number of the case.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

SHAPE, SPACING = (144, 120, 64), (2.5, 2.5, 3.0)
NOISE = 12.0


@dataclass(frozen=True)
class Phase:
    """What a contrast agent adds to the portal venous phase, in Hounsfield units."""

    liver: float = 0
    spleen: float = 0
    vessels: float = 0
    """Beside what it adds to the liver around them."""


PHASES = {
    "portal venous": Phase(),
    "late arterial": Phase(liver=-40, spleen=20, vessels=-30),
    "without agent": Phase(liver=-52, spleen=-62, vessels=-55),
}


def simulated(number: int, phase: str = "portal venous") -> tuple[np.ndarray, np.ndarray]:
    """Hounsfield units [X, Y, Z] int16 and the mask of the lesions, uint8, of one case."""
    added = PHASES[phase]
    rng = np.random.default_rng([2024, number])
    axes = [
        spacing * (np.arange(side) - side / 2) for side, spacing in zip(SHAPE, SPACING, strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    rough = gaussian_filter(rng.standard_normal(SHAPE), 5)
    rough *= 0.12 / rough.std()

    def oval(centre: tuple[float, ...], radii: tuple[float, ...], bumps: float = 1) -> np.ndarray:
        parts = ((grid[axis] - centre[axis]) / radii[axis] for axis in range(3))
        return np.asarray(sum(part**2 for part in parts) + bumps * rough < 1)

    wide, deep = rng.uniform(140, 165), rng.uniform(105, 125)
    image = np.full(SHAPE, -1000.0)
    image[oval((0, 0, 0), (wide, deep, 1e4), 0)] = -100  # fat
    image[oval((0, 0, 0), (wide - 18, deep - 18, 1e4), 0.3)] = 40  # muscle and bowel
    image[oval((0, -deep + 42, 0), (18, 20, 1e4), 0.3)] = 320  # spine
    image[oval((-rng.uniform(70, 85), -30, 10), (28, 38, 50))] = 110 + added.spleen
    middle = (rng.uniform(45, 60), rng.uniform(0, 15), rng.uniform(-10, 10))
    liver = oval(middle, (rng.uniform(58, 68), rng.uniform(55, 68), 85))
    level = rng.uniform(90, 125) + added.liver
    image[liver] = level
    vessels = np.abs(gaussian_filter(rng.standard_normal(SHAPE), (3, 3, 5))) < 0.0006
    image[liver & vessels] = level + 40 + added.vessels
    inside = np.argwhere(gaussian_filter(liver.astype(float), 3) > 0.95)
    mask = np.zeros(SHAPE, np.uint8)
    for _ in range(rng.integers(1, 4)):
        place = inside[rng.integers(len(inside))]
        centre = tuple(float(axis[index]) for axis, index in zip(axes, place, strict=True))
        radii = tuple(rng.uniform(4, 8) * rng.uniform(0.85, 1.15, 3))
        lesion = oval(centre, radii, 0.5) & liver
        image[lesion] = level - rng.uniform(25, 45)
        mask[lesion] = 1
    blurred = (
        gaussian_filter(image, 0.6) + NOISE * gaussian_filter(rng.standard_normal(SHAPE), 0.5) / 0.6
    )
    return np.clip(blurred, -1024, 3000).astype(np.int16), mask


def simulate(folder: Path, count: int, phase: str = "portal venous") -> None:
    """Write images/ and labels/ of so many cases into a folder."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        for part, array in zip(("images", "labels"), simulated(number, phase), strict=True):
            scan = nib.Nifti1Image(array, np.diag([*SPACING, 1]))
            nib.save(scan, folder / part / f"ct_{number:03d}.nii.gz")


def main() -> None:
    """Write as many cases as are asked for into a folder."""
    simulate(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40)


if __name__ == "__main__":
    main()
