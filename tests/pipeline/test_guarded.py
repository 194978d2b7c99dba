"""A trained checkpoint knows its training scans, and tells of scans that are unlike them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from medssl.cli import app
from medssl.data.csv_table import read_table
from medssl.data.geometry import Geometry
from medssl.data.volume import read_volume, write_volume
from medssl.errors import DataError
from medssl.families.segment.cohort import PAGE
from medssl.families.segment.predict import predict_files
from medssl.infer.checkpoint_guard import read_guard
from medssl.infer.scan_traits import PARTS
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run, train
from medssl.train.description import CHECKSUMS, GUARD
from tests.told import Told

TRAINED = ["split.labels=3", "split.validation=0", "split.test=2", "train.steps=1"]


@pytest.fixture
def trained(balls: Path) -> Path:
    """The checkpoint of a step of training; six scans, of which three have labels."""
    return train(load_config("balls", TRAINED), QuietReporter())["model"]


@pytest.fixture
def odd(balls: Path) -> Path:
    """A scan as of training, upside down in its intensities, coarse, and large."""
    scan = read_volume(balls / "data" / "balls" / "c0.nii.gz")
    large = np.tile(-5 * scan.array[0], (3, 3, 3))
    path = balls / "odd.nii.gz"
    write_volume(large, Geometry(large.shape, np.diag([8.0, 6, 6, 1])), path)
    return path


def test_a_scan_unlike_those_of_training_is_told_and_marked_in_the_table(
    trained: Path, odd: Path, balls: Path
) -> None:
    told, table = Told(), balls / "volumes.csv"
    like = balls / "data" / "balls" / "c1.nii.gz"
    given = trained, [like, odd], balls / "out", ["guard=0.1"], told, "cpu"
    predict_files(*given, statistics=table)
    (warning,) = [one for one in told.warned if "unlike" in one]
    assert warning.startswith("odd is unlike the scans that the model was trained on, by its ")
    assert "field of view" in warning
    rows = {row["case"]: row for row in read_table(table)}
    assert "voxel size" in rows["odd"]["unlike_training"]
    assert rows["c1"]["unlike_training"] == ""
    scores = {name: float(row["guard_score"]) for name, row in rows.items()}
    assert scores["odd"] > float(rows["odd"]["guard_limit"]) > scores["c1"]
    assert rows["odd"]["rank"] == "1" or not int(rows["c1"]["voxels"])
    again = Told()
    predict_files(*given[:4], again, "cpu", statistics=table)
    assert [one for one in again.warned if "unlike" in one] == [warning]  # of what was done before


def test_it_is_marked_on_stderr_and_on_the_pages_too(trained: Path, odd: Path, balls: Path) -> None:
    like, out = balls / "data" / "balls" / "c1.nii.gz", balls / "out"
    given = ["predict", str(trained), str(like), str(odd), "-o", str(out), "--report", "-q"]
    said = CliRunner().invoke(app, [*given, "--set", "guard=0.1", "--device", "cpu"])
    assert said.exit_code == 0, said.output
    words = " ".join(said.stderr.split())
    assert "warning: odd is unlike the scans that the model was trained on, by its " in words
    assert "c1 is unlike" not in words
    marked = "This scan is unlike those that the model was trained on, by its "
    assert marked in (out / "odd_report.html").read_text()
    assert marked not in (out / "c1_report.html").read_text()
    first, second = re.findall(r'href="(\w+)_report\.html"', (out / PAGE).read_text())
    assert (first, second) == ("odd", "c1")
    assert (out / PAGE).read_text().count("unlike training: ") == 1


def test_zero_asks_no_guard(trained: Path, odd: Path, balls: Path) -> None:
    told = Told()
    predict_files(trained, [odd], balls / "out", ["guard=0"], told, "cpu")
    assert not [one for one in told.warned + told.notes if "guard" in one or "unlike" in one]
    assert "guard" not in (balls / "out" / "prediction.json").read_text()


def test_a_checkpoint_without_a_guard_predicts_and_says_so_once(
    untrained_checkpoint: Path, odd: Path, balls: Path
) -> None:
    told, table = Told(), balls / "volumes.csv"
    scans = [odd, balls / "data" / "balls" / "c1.nii.gz"]
    predict_files(untrained_checkpoint, scans, balls / "out", [], told, "cpu", statistics=table)
    assert len([one for one in told.notes if "has no guard" in one]) == 1
    assert {row["guard_score"] for row in read_table(table)} == {""}


def test_a_guard_that_measures_other_things_is_told_as_none(
    trained: Path, odd: Path, balls: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    (trained / CHECKSUMS).unlink()
    save_file(load_file(trained / GUARD), trained / GUARD, {"module": "m", "parts": "smell"})
    told = Told()
    predict_files(trained, [odd], balls / "out", [], told, "cpu")
    assert len([one for one in told.notes if "has no guard" in one]) == 1


def test_a_guard_of_another_network_is_refused(trained: Path, odd: Path, balls: Path) -> None:
    from safetensors.numpy import load_file, save_file

    (trained / CHECKSUMS).unlink()
    save_file(
        load_file(trained / GUARD),
        trained / GUARD,
        {"module": "no.such.module", "parts": ", ".join(PARTS)},
    )
    with pytest.raises(DataError, match="it is of another network"):
        predict_files(trained, [odd], balls / "out", [], QuietReporter(), "cpu")


def test_every_checkpoint_of_a_run_that_is_handed_on_has_a_guard(balls: Path) -> None:
    keys = ["split.folds=2", "split.labels=null", "split.validation=0", "split.test=0"]
    done = run(load_config("balls", [*keys, "split.final=ensemble", "train.steps=1"]), Told())
    assert read_guard(done["model"]) is not None
    record = json.loads((done["model"] / "checkpoint.json").read_text())
    assert record["members"] == 2


def test_training_on_fewer_scans_than_five_leaves_no_guard(balls: Path) -> None:
    for number in range(4, 8):
        for file in (balls / "data" / "balls").glob(f"c{number}*"):
            file.unlink()
    keys = ["split.labels=null", "split.validation=0", "split.test=0", "train.steps=1"]
    assert not (train(load_config("balls", keys), Told())["model"] / GUARD).exists()
