"""What every format of volumes is put to: reading, the data check, the cache, prediction."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tests.drivers.command import medssl
from tests.drivers.fuzzing.format import Step
from tests.drivers.fuzzing.trained import checkpoint
from tests.drivers.toys import write_nifti

SHAPE = (10, 9, 8)
ODD_NUMBERS = (0, 1, -1, 2, 3, 7, 16, 255, 512, 2304, 32767, -32768, 10**6, 2**31 - 1, 0.5, 1e30,
               float("nan"), float("inf"), -float("inf"))  # fmt: skip


def whole_case(place: Path) -> None:
    """A checkpoint, and a folder with one whole case beside which the damaged one is put."""
    checkpoint("balls", place)
    rng = np.random.default_rng(0)
    image = rng.normal(100, 20, SHAPE).astype(np.float32)
    write_nifti(place / "data" / "imagesTr" / "good.nii.gz", image)
    write_nifti(place / "data" / "labelsTr" / "good.nii.gz", mask())


def mask() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:6, 3:6, 3:6] = 1
    return mask


def subject(place: Path) -> Path:
    """The damaged file, which need not be there any more."""
    return place / (place / "subject").read_text()


def name_subject(place: Path, path: Path) -> Path:
    """Remember which file is damaged."""
    (place / "subject").write_text(str(path.relative_to(place)))
    return path


def read_everywhere(
    place: Path, compare: Callable[[Path, Any], None], data: str = "data"
) -> Iterable[Step]:
    """All that medssl does with a volume; `compare` asks an independent reader."""
    from medssl.data.volume import read_geometry, read_mask, read_volume

    path = subject(place)
    label = place / "data" / "labelsTr" / "bad.nii.gz"
    yield "geometry", lambda: read_geometry(path)
    yield "volume", lambda: compare(path, read_volume(path))
    yield "mask", lambda: read_mask(path)
    yield "cache", lambda: _cache(path, label)
    yield "check", lambda: medssl("data", "check", data, "-q")
    yield "predict", lambda: medssl("predict", "checkpoint", str(path), "-o", "out", "-q")


def _cache(path: Path, label: Path) -> None:
    from medssl.data.cache import CaseCache
    from medssl.data.guess import guess_spec
    from medssl.data.labels import Label
    from medssl.data.spec import Case
    from medssl.transforms.chain import Preprocess

    spec = guess_spec(Path("data")).model_copy(update={"labels": (Label(value=1, name="one"),)})
    images = dict.fromkeys(spec.channels, path)
    case = Case("bad", "bad", images, label if label.exists() else None)
    CaseCache(Path("cache"), spec, Preprocess.of("mr")).open(case)
