"""What a data check would refuse is refused by a run, before anything is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from medssl.data import case_checks
from medssl.data.volume import read_mask, read_volume, write_mask, write_volume
from medssl.errors import DataError, MedsslError, UsageError
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.pipeline.run import train as train_alone


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """To train is a failure."""

    def train(*_: Any) -> NoReturn:
        pytest.fail("it was trained")

    monkeypatch.setattr("medssl.families.segment.train.train", train)


def files(root: Path, role: str) -> tuple[Path, Path]:
    """Image and label of the first case of a role."""
    case = getattr(make_plan(load_config("balls")).cohort.split, role)[0]
    folder = root / "data" / "balls"
    return folder / f"{case}.nii.gz", folder / f"{case}_seg.nii.gz"


def constant(image: Path, _: Path) -> None:
    volume = read_volume(image)
    write_volume(np.full(volume.geometry.shape, 7.0), volume.geometry, image)


def empty(_: Path, label: Path) -> None:
    mask = read_mask(label)
    write_mask(np.zeros(mask.geometry.shape, np.uint8), mask.geometry, label)


def undeclared(_: Path, label: Path) -> None:
    mask = read_mask(label)
    write_mask(np.full(mask.geometry.shape, 5, np.uint8), mask.geometry, label)


def shifted(_: Path, label: Path) -> None:
    mask = read_mask(label)
    write_mask(mask.array[0, 1:], mask.geometry.cropped((1, 0, 0), (12, 12, 12)), label)


def truncated(image: Path, _: Path) -> None:
    image.write_bytes(image.read_bytes()[:100])


FAULTS: dict[Callable[[Path, Path], None], str] = {
    constant: "the value 7 in every voxel",
    empty: "marks no voxel",
    undeclared: r"holds (the values )?5",
    shifted: "does not lie on the grid of",
    truncated: "cannot be read",
}


@pytest.mark.parametrize("role", ["labelled", "validation", "test"])
@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_a_run_refuses_what_the_data_check_refuses(
    balls: Path,
    spoil: Callable[[Path, Path], None],
    role: str,
    request: pytest.FixtureRequest,
) -> None:
    spoil(*files(balls, role))
    if role == "test":
        request.getfixturevalue("never")
    with pytest.raises(DataError, match=FAULTS[spoil]) as caught:
        run(load_config("balls"), QuietReporter())
    assert "`medssl data check balls` lists all" in str(caught.value)
    assert not list((balls / "runs").rglob("metrics.jsonl"))


def test_faults_of_several_test_cases_are_counted(balls: Path, never: None) -> None:
    for name in make_plan(load_config("balls")).cohort.split.test:
        empty(balls, balls / "data" / "balls" / f"{name}_seg.nii.gz")
    with pytest.raises(DataError, match="marks no voxel; 2 more cases are wrong"):
        run(load_config("balls"), QuietReporter())


def test_test_cases_are_read_once(balls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later run knows them by their content."""
    read = []

    def watched(path: Path) -> Any:
        read.append(path)
        return read_volume(path)

    monkeypatch.setattr(case_checks, "read_volume", watched)

    def stop(*_: Any) -> NoReturn:
        raise MedsslError("enough")

    monkeypatch.setattr("medssl.families.segment.train.train", stop)
    for _ in range(2):
        with pytest.raises(MedsslError, match="enough"):
            run(load_config("balls"), QuietReporter())
    assert len(read) == 3
    constant(*files(balls, "test"))
    with pytest.raises(DataError, match="every voxel"):
        run(load_config("balls"), QuietReporter())
    assert len(read) == 4


def respecify(root: Path, old: str, new: str) -> None:
    path = root / "data_specs" / "balls.yaml"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("start", [run, train_alone])
def test_masks_without_declared_labels_are_refused(balls: Path, start: Callable[..., Any]) -> None:
    respecify(balls, "labels: [{value: 3, name: ball}]\n", "")
    with pytest.raises(DataError, match=r"declares no labels.*under `labels`"):
        start(load_config("balls"), QuietReporter())


def test_training_on_masks_that_are_all_empty_is_refused(balls: Path) -> None:
    respecify(balls, "simulated: true", "empty_masks: true")
    for name in make_plan(load_config("balls")).cohort.split.labelled:
        empty(balls, balls / "data" / "balls" / f"{name}_seg.nii.gz")
    with pytest.raises(DataError, match="none of the 1 masks of balls to train with marks a voxel"):
        train_alone(load_config("balls"), QuietReporter())


def test_a_pipeline_whose_name_leaves_the_runs_folder_is_refused(balls: Path) -> None:
    for name in ("../up", "/tmp/x", "a/b", "", "con", ".hidden"):
        with pytest.raises(UsageError, match="name"):
            load_config("balls", [f"name='{name}'"])
