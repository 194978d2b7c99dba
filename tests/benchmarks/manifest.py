"""`medssl predict --manifest` at scale: what a study costs here, and what many workers would do.

    python -m tests.benchmarks.manifest

CPU seconds of reading, predicting and writing a simulated scan are measured here, one thread each,
with an untrained network (its weights do not change the time), and beside them how long the disk
takes for the same bytes, the least of several times: read from the page cache, written until they
are on the disk. They go into a simulation of 1 to 64 workers on a storage that they share. On
another device the prediction is to be measured there, and given with `--predict SECONDS`.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medssl.data.geometry import Geometry
from medssl.data.volume import write_volume
from medssl.families.segment.model import Model, open_model
from medssl.families.segment.work import Opened, Work
from medssl.pipeline.manifest import ALL, Line, read_list
from medssl.pipeline.progress import QuietReporter
from tests.benchmarks.storage import Storage, Study, bound, seconds

WORKERS = (1, 2, 4, 8, 16, 32, 64)


def untrained(place: Path, width: int) -> Model:
    """A network of the usual depth with the weights that it starts from, windows of 32^3 voxels."""
    from medssl.pipeline.config import load_config
    from tests.drivers import toys
    from tests.pipeline.conftest import write_untrained

    toys.balls(place)
    os.chdir(place)
    network = f"network={{name: vnet, width: {width}, levels: 4, norm: instance, dropout: 0}}"
    config = load_config("balls", [network, "train.patch=[32,32,32]"])
    return open_model(write_untrained(config, place / "trained") / "last", [], "cpu")


def write_scans(place: Path, number: int, shape: tuple[int, int, int]) -> Path:
    """Smooth scans with noise, as NIfTI; returns the list of them."""
    from scipy.ndimage import gaussian_filter

    lines = []
    for case in range(number):
        rng = np.random.default_rng(case)
        smooth = gaussian_filter(rng.normal(size=shape), 4) * 4000
        image = (smooth + rng.normal(size=shape) * 20).round().astype(np.int16)
        path = place / "scans" / f"s{case}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        write_volume(image, Geometry(shape, np.diag([1.0, 1.0, 1.0, 1.0])), path)
        lines.append(f"scans/{path.name}\n")
    listed = place / "list.txt"
    listed.write_text("".join(lines))
    return listed


class Timed:
    """CPU seconds of each of the three parts of `Work`, each of which has a thread."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {"_open": [], "_answer": [], "_write": []}
        self._kept = {name: getattr(Work, name) for name in self.spent}

    def __enter__(self) -> "Timed":
        for name, part in self._kept.items():
            setattr(Work, name, self._timed(name, part))
        return self

    def __exit__(self, *_: object) -> None:
        for name, part in self._kept.items():
            setattr(Work, name, part)

    def _timed(self, name: str, part: Any) -> Any:
        def call(work: Work, one: Any) -> Any:
            begun = time.thread_time()
            found = part(work, one)
            if not (isinstance(one, Opened) and not one.case):
                self.spent[name].append(time.thread_time() - begun)
            return found

        return call


def measured(model: Model, listed: Path, out: Path) -> tuple[list[Study], float]:
    """What each study cost, and the seconds of the whole."""
    with Timed() as timed:
        begun = time.perf_counter()
        model.predict_lines(read_list(listed), ALL, out, QuietReporter())
        whole = time.perf_counter() - begun
    sizes = [line.path.stat().st_size for line in read_list(listed)]
    written = [
        sum(path.stat().st_size for path in out.glob(f"{_name(line)}[._]*"))
        for line in read_list(listed)
    ]
    columns = (*timed.spent.values(), sizes, written)
    return [Study(*row) for row in zip(*columns, strict=True)], whole


def _name(line: Line) -> str:
    """What the results of a line begin with."""
    return line.name or line.path.name.partition(".")[0]


def disk_seconds(path: Path, repeats: int = 20) -> tuple[float, float]:
    """Least wall time of reading a file, and of writing its bytes until they are on the disk."""
    content, beside = path.read_bytes(), path.with_suffix(".copy")
    reads, writes = [], []
    for _ in range(repeats):
        begun = time.perf_counter()
        path.read_bytes()
        reads.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        writes.append(time.perf_counter() - begun)
    beside.unlink()
    return min(reads), min(writes)


def mean(studies: list[Study]) -> Study:
    """A study that costs what they cost on average."""
    return Study(*np.mean([list(vars(one).values()) for one in studies], axis=0).tolist())


def main() -> None:
    """The command."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--list", type=Path, help="of scans of one channel; else simulated ones")
    reader.add_argument("--scans", type=int, default=4)
    reader.add_argument("--shape", type=int, nargs=3, default=(64, 64, 48), help="voxels")
    reader.add_argument("--width", type=int, default=8, help="channels of the network")
    reader.add_argument("--predict", type=float, help="seconds measured on the wanted device")
    reader.add_argument("--bandwidth", type=float, nargs="*", default=[0.1, 1, 10], help="GB/s")
    reader.add_argument("--link", type=float, default=1.0, help="GB/s of one worker")
    reader.add_argument("--latency", type=float, default=0.01, help="seconds before a transfer")
    chosen = reader.parse_args()
    chosen.list = chosen.list and chosen.list.resolve()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["MEDSSL_KEY"] = str(place / "key")
        model = untrained(place, chosen.width)
        listed = chosen.list or write_scans(place, chosen.scans, tuple(chosen.shape))
        measured(model, listed, place / "warm")
        studies, whole = measured(model, listed, place / "out")
        scan = read_list(listed)[0].path
        size, (reading, writing) = scan.stat().st_size, disk_seconds(scan)
    one = mean(studies)
    apart = sum(one.read_s + one.predict_s + one.write_s for one in studies)
    what = "scans" if chosen.list else "simulated scans"
    print(
        f"{len(studies)} {what}, CPU s of each: read {one.read_s:.3f}, "
        f"predict {one.predict_s:.3f}, write {one.write_s:.3f}; "
        f"{one.read_bytes / 1e6:.2f} MB read, {one.write_bytes / 1e6:.2f} MB written"
    )
    print(
        f"disk: {size / 1e6:.2f} MB read in {1e3 * reading:.2f} ms, written in "
        f"{1e3 * writing:.2f} ms; {apart:.2f} CPU s took {whole:.2f} s, load "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    if chosen.predict is not None:
        studies = [Study(**(vars(one) | {"predict_s": chosen.predict})) for one in studies]
        one = mean(studies)
    print("studies/s  " + "".join(f"{workers:>9}" for workers in WORKERS) + "  workers")
    for bandwidth in chosen.bandwidth:
        storage = Storage(bandwidth * 1e9, chosen.link * 1e9, chosen.latency)
        speeds, most = [], []
        for workers in WORKERS:
            asked = [studies[number % len(studies)] for number in range(50 * workers)]
            speeds.append(len(asked) / seconds(asked, workers, storage))
            most.append(bound(one, workers, storage))
        for label, row in ((f"{bandwidth:g} GB/s", speeds), ("  at most", most)):
            print(f"{label:11}" + "".join(f"{value:9.2f}" for value in row))


if __name__ == "__main__":
    main()
