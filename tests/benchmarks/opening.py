"""Filling the cache and opening its cases, whose checksums are verified, against older code.

    python -m tests.benchmarks.opening [--against COMMIT] [--processes COUNT] [--rounds COUNT]

The other code is taken out of git. Each has a cache of its own of the same files, and opens all of
its cases with two threads as training does, in turn with the other, in several processes. Printed
are CPU milliseconds for each case, medians, for preparing it into an empty cache, for the first
opening in a process, which is what a run waits for, and for later ones; and the median of the
ratios, each of two side by side.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "7350b5b"
"""The last commit without checksums."""

AS_WANTED = np.eye(4)
TURNED = np.array([[0, 0, -1, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
"""Grids whose axes run as training wants them, and of which none does: two run backwards."""

SETS = {
    "tiny": ((36, 52, 38), AS_WANTED, None, 64),
    "tiny, turned": ((36, 52, 38), TURNED, None, 64),
    "large": ((192, 224, 160), AS_WANTED, (1.5, 1.5, 1.5), 8),
    "large, turned": ((192, 224, 160), TURNED, (1.5, 1.5, 1.5), 8),
}
"""Voxels of a scan, its affine, mm that it is resampled to, and how many scans."""

SPEC = {
    "name": "noise",
    "title": "Noise",
    "modality": "MR",
    "channels": ["T1"],
    "labels": [{"value": 1, "name": "part"}],
    "root": ".",
    "layout": {"kind": "glob"},
    "licence": "CC0",
    "citation": "none",
}


def write_scans(name: str, folder: Path) -> None:
    """The scans of a set, and masks that mark a tenth of their voxels."""
    from medssl.data.geometry import Geometry
    from medssl.data.volume import write_mask, write_volume

    shape, affine, _, count = SETS[name]
    for number in range(count):
        rng = np.random.default_rng(number)
        grid = Geometry(shape, affine)
        write_volume(rng.integers(0, 1000, shape), grid, folder / f"{number}.nii.gz")
        write_mask(rng.random(shape) > 0.9, grid, folder / f"{number}_seg.nii.gz")


def cache_of(folder: Path, spec: Any, spacing: tuple[float, ...] | None) -> Any:
    """The cache of whichever code this process imports."""
    from medssl.data.cache import CaseCache

    try:
        from medssl.transforms.chain import Preprocess
    except ImportError:  # before preprocessing was a chain
        from medssl.settings import PreprocessSettings  # type: ignore[attr-defined]

        return CaseCache(folder, spec, PreprocessSettings(spacing=spacing))
    return CaseCache(folder, spec, Preprocess.of({"mr": {"spacing": spacing}}))


def answer(name: str, scans: Path, folder: Path) -> None:
    """In a process of its own: open all cases once for each line that comes, and say the time."""
    from medssl.data.spec import Case, DataSpec

    _, _, spacing, count = SETS[name]
    cases = [
        Case(str(n), str(n), {"T1": scans / f"{n}.nii.gz"}, scans / f"{n}_seg.nii.gz")
        for n in range(count)
    ]
    cache = cache_of(folder, DataSpec.model_validate(SPEC), spacing)
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.process_time()
        opened = cache.prepare(cases, workers=2)
        print(1e3 * (time.process_time() - begun) / count, flush=True)
        assert len(opened) == count


@contextmanager
def opener(code: Path, name: str, scans: Path, folder: Path) -> Iterator[Callable[[], float]]:
    """What opens the cases once, in a process by the code in `code`, and returns CPU ms a case."""
    with subprocess.Popen(
        [sys.executable, __file__, "--answer", name, str(scans), str(folder)],
        env=os.environ | {"PYTHONPATH": str(code)},
        cwd=code,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        asked, said = process.stdin, process.stdout
        if said.readline().strip() != "ready":
            raise RuntimeError(f"the code in {code} does not open the cases")

        def ask() -> float:
            asked.write("open\n")
            asked.flush()
            return float(said.readline())

        yield ask
        asked.close()


def compare(name: str, before: Path, processes: int, rounds: int) -> dict[str, np.ndarray]:
    """CPU ms for each case, [..., 2]: of this code and of that in `before`."""
    with tempfile.TemporaryDirectory() as work:
        scans = Path(work) / "scans"
        scans.mkdir()
        write_scans(name, scans)

        def asked(number: int, times: int) -> list[tuple[float, float]]:
            caches = Path(work) / f"now{number}", Path(work) / f"before{number}"
            with (
                opener(ROOT, name, scans, caches[0]) as ours,
                opener(before, name, scans, caches[1]) as theirs,
            ):
                return [(ours(), theirs()) for _ in range(times)]

        filled = np.array([asked(number, 1) for number in range(processes)])
        opened = np.array([asked(0, rounds) for _ in range(processes)])
    return {"filled": filled, "first": opened[:, :1], "later": opened[:, 1:]}


def take_out(commit: str, folder: Path) -> None:
    """The code of a commit."""
    packed = subprocess.run(
        ["git", "archive", commit, "medssl"], cwd=ROOT, check=True, capture_output=True
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")


def main() -> None:
    if sys.argv[1:2] == ["--answer"]:
        answer(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        return
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--against", default=BEFORE, help="a commit (the last without checksums)")
    reader.add_argument("--processes", type=int, default=9)
    reader.add_argument("--rounds", type=int, default=6, help="openings in each process")
    chosen = reader.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        take_out(chosen.against, Path(folder))
        for name, (shape, _, _, count) in SETS.items():
            found = compare(name, Path(folder), chosen.processes, chosen.rounds)
            print(f"{name}: {count} scans of {'x'.join(map(str, shape))}")
            for word, some in found.items():
                ours, theirs = np.median(some, axis=(0, 1))
                ratio = np.median(some[..., 0] / some[..., 1])
                print(
                    f"  {word:6} {ours:7.3f} ms, before {theirs:7.3f} ms, {ratio:.2f}x", flush=True
                )


if __name__ == "__main__":
    main()
