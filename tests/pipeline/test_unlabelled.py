"""Masks of the cases without a label: complete, resumable, measured and ranked by doubt."""

import json
from pathlib import Path

import numpy as np
import pytest

from medssl.data.csv_table import read_table
from medssl.data.volume import read_geometry, read_mask
from medssl.families.segment.cohort import PAGE, VOLUMES
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.pipeline.stage import DONE

WITHOUT = ("c5", "c6", "c7")


@pytest.fixture
def few(balls: Path) -> Path:
    """The balls, of which three have no label."""
    for name in WITHOUT:
        (balls / "data" / "balls" / f"{name}_seg.nii.gz").unlink()
    return balls


def test_every_case_without_a_label_gets_a_mask_on_its_own_grid(
    few: Path, untrained: list[str]
) -> None:
    done = run(load_config("balls", ["predict.unlabelled=true"]), QuietReporter())
    folder = done["unlabelled"]
    for name in WITHOUT:
        mask = read_mask(folder / f"{name}.nii.gz")
        assert mask.geometry.matches(read_geometry(few / "data" / "balls" / f"{name}.nii.gz"))
        assert (folder / f"{name}_entropy.nii.gz").is_file()
    rows = read_table(done["volumes"])
    assert sorted(row["case"] for row in rows) == list(WITHOUT)
    doubts = [float(row["doubt"]) for row in rows]
    assert doubts == sorted(doubts, reverse=True)
    counted = {row["case"]: int(row["voxels"]) for row in rows}
    for row in rows:
        mask = read_mask(folder / f"{row['case']}.nii.gz")
        assert counted[row["case"]] == np.count_nonzero(mask.array == 3)
        assert float(row["ml"]) == pytest.approx(counted[row["case"]] * 2 / 1000, rel=1e-5)
    page = done["pictures"].read_text()
    assert page.count("data:image/png;base64") == 3
    assert page.index(rows[0]["case"]) < page.index(rows[-1]["case"])
    assert f"correct first, where the model doubts most: {rows[0]['case']}, " in str(done)


def test_a_stopped_stage_continues_and_a_lost_mask_is_made_again(
    few: Path, untrained: list[str]
) -> None:
    config = load_config("balls", ["predict.unlabelled=true", "split.test=0"])
    folder = run(config, QuietReporter())["unlabelled"]
    kept = (folder / "c6.nii.gz").stat().st_mtime_ns
    (folder / "c5.nii.gz").unlink()
    (folder / PAGE).unlink()
    (make_plan(config).folder("run") / DONE).unlink()
    run(config, QuietReporter())
    assert (folder / "c5.nii.gz").is_file()
    assert (folder / PAGE).is_file()
    assert (folder / "c6.nii.gz").stat().st_mtime_ns == kept
    assert len(untrained) == 1
    record = json.loads((folder / "prediction.json").read_text())
    assert sorted(record["measured"]) == list(WITHOUT)
    assert str(few) not in (folder / VOLUMES).read_text() + json.dumps(record["measured"])


def test_the_key_adds_a_stage_and_leaves_the_keys_of_the_others(few: Path) -> None:
    plain = make_plan(load_config("balls")).stages
    more = make_plan(load_config("balls", ["predict.unlabelled=true"])).stages
    assert [*more] == ["train", "predict", "evaluate", "unlabelled", "run"]
    for name in ("train", "predict", "evaluate"):
        assert more[name] == plain[name]
    assert more["run"] != plain["run"]
    scored = make_plan(load_config("balls", ["predict.unlabelled=true", "evaluate.tolerance=3"]))
    assert scored.stages["unlabelled"] == more["unlabelled"]
    assert scored.last.name == "evaluate"


def test_a_data_set_that_is_labelled_through_needs_no_such_stage(balls: Path) -> None:
    assert "unlabelled" not in make_plan(load_config("balls", ["predict.unlabelled=true"])).stages
