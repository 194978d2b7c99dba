"""Whole runs of slide pipelines on toys: from files to calls, reports and heat maps."""

import csv
import json
from pathlib import Path

import pytest

from medssl.errors import DataError, UsageError
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.slides.compare import compare_slides
from medssl.pipeline.slides.config import load_slide_config
from medssl.pipeline.slides.plan import make_slide_plan
from medssl.pipeline.slides.predict import predict_slides
from medssl.pipeline.slides.pretrain import pretrain_tiles
from medssl.pipeline.slides.run import run_slides
from medssl.train.slide_checkpoint import load_slide_checkpoint

QUIET = QuietReporter()


class Notes(QuietReporter):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def written() -> dict[Path, int]:
    """When each fold's calls were written."""
    return {path: path.stat().st_mtime_ns for path in Path("runs/bags").rglob("calls.json")}


def test_bags_become_calls_on_every_bag_scores_and_a_report(toys: Path) -> None:
    done = run_slides(load_slide_config("bags"), QUIET)
    calls = rows(done.scores)
    assert len(calls) == len({call["slide"] for call in calls}) == 24
    right = sum(call["truth"] == call["prediction"] for call in calls)
    assert right >= 21  # the toy is easy
    assert "<html" in done.report.read_text()
    assert done.heat_maps is None


def test_what_is_done_is_not_done_again_and_a_change_is(toys: Path) -> None:
    run_slides(load_slide_config("bags"), QUIET)
    first = {path: path.stat().st_mtime_ns for path in Path("runs/bags").rglob("calls.json")}
    run_slides(load_slide_config("bags"), QUIET)
    assert first == {
        path: path.stat().st_mtime_ns for path in Path("runs/bags").rglob("calls.json")
    }
    run_slides(load_slide_config("bags", ["seed=1"]), QUIET)
    assert len(written()) == 2 * len(first) == 6


def test_a_run_killed_between_folds_continues_with_the_folds_that_are_missing(toys: Path) -> None:
    config = load_slide_config("bags")
    whole = run_slides(config, QUIET)
    expected = whole.scores.read_text()
    plan = make_slide_plan(config)
    for path in (
        plan.whole.folder / "done.json",
        plan.train.folder / "done.json",
        plan.train.folder / "fold2" / "calls.json",
        plan.evaluate.folder / "done.json",
    ):
        path.unlink()
    state = plan.train.folder / "fold0" / "state.pt"
    state.touch()  # a kill after the calls, before the state is taken away
    kept = (plan.train.folder / "fold0" / "calls.json").stat().st_mtime_ns
    assert run_slides(config, QUIET).scores.read_text() == expected
    assert (plan.train.folder / "fold0" / "calls.json").stat().st_mtime_ns == kept
    assert not state.exists()


def test_the_checkpoint_of_all_folds_scales_features_as_training_did(toys: Path) -> None:
    import torch

    done = run_slides(load_slide_config("bags"), QUIET)
    classifier, found = load_slide_checkpoint(done.checkpoint)
    assert (found.members, found.classes) == (3, ("normal", "tumour"))
    assert 0 < found.threshold < 1
    far, near = torch.full((3, 4), 5.0), torch.full((3, 4), 5.0)
    far[0, 0] = 21
    assert classifier.head(far).probability[1] > classifier.head(near).probability[1]


def test_slides_become_heat_maps_by_the_fold_that_did_not_learn_from_them(toys: Path) -> None:
    done = run_slides(load_slide_config("slides"), QUIET)
    assert done.heat_maps is not None
    drawn = {path.stem for path in done.heat_maps.glob("*.png")}
    assert drawn == {"s0", "s1", "s2", "s3", "s4"}  # s4 by all folds
    tiles = json.loads((done.heat_maps / "s1.geojson").read_text())["features"]
    assert len(tiles) == 12  # 96 x 128 pixels of tissue in tiles of 32
    assert {"normal", "tumour"} <= {
        word for key in tiles[0]["properties"]["measurements"] for word in key.split()
    }


def test_outlined_lesions_are_looked_for_in_slides_that_were_held_out(toys: Path) -> None:
    done = run_slides(load_slide_config("slides"), QUIET)
    summary = json.loads((done.report.parent / "done.json").read_text())["summary"]
    assert 0 <= summary["froc"] <= 1
    assert 0 <= summary["patch_auc"] <= 1
    assert summary["keys_found"] == 1  # fewer tiles than count as selected
    assert "FROC" in done.report.read_text()


def test_a_new_slide_is_called_where_neither_pipeline_nor_data_exist(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = run_slides(load_slide_config("slides"), QUIET).checkpoint.absolute()
    slide = (toys / "data" / "toys" / "s4.tiff").rename(toys / "new.tiff")
    monkeypatch.chdir(toys.parent)
    monkeypatch.delenv("MEDSSL_DATA")
    calls = predict_slides(checkpoint, [slide], toys / "out", QUIET)
    (call,) = rows(calls)
    assert call["slide"] == "new"
    assert call["prediction"] in {"normal", "tumour"}
    assert float(call["normal"]) + float(call["tumour"]) == pytest.approx(1, abs=1e-5)
    assert (toys / "out" / "new.geojson").is_file()
    assert (toys / "out" / "new.png").is_file()
    kept = calls.read_bytes()
    assert predict_slides(checkpoint, [slide], toys / "out", QUIET).read_bytes() == kept
    (toys / "out" / "new.png").write_bytes(b"another picture")
    with pytest.raises(UsageError, match=r"new\.png is in the way; .*changed after medssl"):
        predict_slides(checkpoint, [slide], toys / "out", QUIET)
    predict_slides(checkpoint, [slide], toys / "out", QUIET, overwrite=True)
    assert (toys / "out" / "new.png").read_bytes() != b"another picture"
    with pytest.raises(UsageError, match="holds the input"):
        predict_slides(checkpoint, [slide], slide.parent, QUIET)


def test_a_checkpoint_of_bags_cannot_read_slides(toys: Path) -> None:
    checkpoint = run_slides(load_slide_config("bags"), QUIET).checkpoint
    slide = toys / "data" / "toys" / "s0.tiff"
    with pytest.raises(UsageError, match="cannot read slides"):
        predict_slides(checkpoint, [slide], toys / "out", QUIET)
    assert not (toys / "out").exists()


def test_files_that_are_no_slides_are_named(toys: Path) -> None:
    checkpoint = run_slides(load_slide_config("slides"), QUIET).checkpoint
    with pytest.raises(DataError, match="does not exist"):
        predict_slides(checkpoint, [Path("nowhere.svs")], toys / "out", QUIET)
    with pytest.raises(DataError, match="is no slide"):
        predict_slides(checkpoint, [toys / "pipelines" / "bags.yaml"], toys / "out", QUIET)


def test_slides_without_any_label_are_refused(toys: Path) -> None:
    (toys / "data" / "toys" / "labels.csv").write_text("slide,label\n")
    with pytest.raises(UsageError, match="no case of slides has a class"):
        run_slides(load_slide_config("slides"), QUIET)


def test_a_data_set_of_volumes_is_refused(toys: Path) -> None:
    with pytest.raises(UsageError, match="has no slides or bags with classes"):
        load_slide_config("bags", ["data=hippocampus"])


def test_watching_the_test_bags_adds_the_optimistic_numbers_and_changes_no_other(
    toys: Path,
) -> None:
    plain, watched = (
        make_slide_plan(load_slide_config("bags", more)) for more in ([], ["train.watch_test=true"])
    )
    summaries = []
    for plan in (plain, watched):
        run_slides(plan.config, QUIET)
        summaries.append(json.loads((plan.evaluate.folder / "done.json").read_text())["summary"])
    assert set(summaries[1]) - set(summaries[0]) == {"optimistic_accuracy", "optimistic_auc"}
    assert summaries[0].items() <= summaries[1].items()


def test_runs_are_compared_bag_by_bag(toys: Path) -> None:
    with pytest.raises(UsageError, match="no finished runs"):
        compare_slides("bags", "abmil")
    for method in ("abmil", "mean_pool"):
        run_slides(load_slide_config("bags", [f"method={method}"]), QUIET)
    head, first, second = compare_slides("bags", "abmil").splitlines()
    assert "- abmil" in head
    assert first.split()[:3] == ["abmil", "bags", "0"]
    assert second.split()[:3] == ["mean_pool", "bags", "0"]
    assert "[" in second.split("]", 1)[1]  # a second interval: that of the difference


def test_pre_training_hands_on_weights_that_a_pipeline_of_slides_takes(toys: Path) -> None:
    checkpoint = pretrain_tiles("dino", [], QUIET)
    weights = checkpoint / "weights.safetensors"
    told = Notes()
    done = run_slides(load_slide_config("slides", [f"encoder.weights={weights}"]), told)
    (loaded,) = [note for note in told.notes if "matched" in note]
    assert loaded.startswith(f"weights {weights}: 100.0% of the parameters matched")
    assert loaded.endswith("0 missing, 0 of another shape, 0 unexpected")
    assert load_slide_checkpoint(done.checkpoint)[1].encoder.weights == str(weights)
    plain = run_slides(load_slide_config("slides"), QUIET)
    assert plain.checkpoint != done.checkpoint


def test_pre_training_wants_slides(toys: Path) -> None:
    with pytest.raises(UsageError, match="learns from tiles of slides"):
        pretrain_tiles("dino", ["data=bags"], QUIET)
