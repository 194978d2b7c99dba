"""Whole runs of slide pipelines on toys: from files to calls, reports and heat maps."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medssl.data.spec import load_spec
from medssl.errors import DataError, UsageError
from medssl.families.slide.evaluate import evaluate_calls
from medssl.families.slide.found import margin
from medssl.families.slide.predict import predict_slides
from medssl.pipeline.compare import compare
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.train.imported import import_file
from medssl.train.slide_checkpoint import load_slide_checkpoint
from medssl.train.tile_checkpoint import read_tile_encoder
from tests.networks.foreign.test_vit import plain_vit
from tests.told import Told

QUIET = QuietReporter()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def written() -> dict[Path, int]:
    """When each fold's calls were written."""
    return {path: path.stat().st_mtime_ns for path in Path("runs/bags").rglob("calls.json")}


def test_bags_become_calls_on_every_bag_scores_and_a_report(ran: Path) -> None:
    done = run(load_config("bags"), QUIET)
    calls = rows(done["scores"])
    assert len(calls) == len({call["slide"] for call in calls}) == 24
    right = sum(call["truth"] == call["prediction"] for call in calls)
    assert right >= 21  # the toy is easy
    assert "<html" in done["report"].read_text()
    assert "maps" not in done.paths
    assert re.match(
        r"accuracy 0\.\d+ \[0\.\d+, \S+\] on 24 labelled cases, each answered", str(done)
    )
    said = {row["slide"]: row["prediction"] for row in rows(done["calls"])}
    assert said == {call["slide"]: call["prediction"] for call in calls}


def test_a_run_ends_with_the_slides_to_look_at_first(ran: Path) -> None:
    done = run(load_config("slides"), QUIET)
    assert done.found[-1] == (
        f"1 slide without a class is called in {done['calls']}; look first, where the model doubts "
        "most, at s4; what you know of them goes into the table of labels, then run again"
    )


def test_the_calls_next_to_the_threshold_are_the_most_doubtful() -> None:
    def row(*values: float) -> dict[str, str]:
        return {"threshold": "0.3"} | {f"c{n}": str(one) for n, one in enumerate(values)}

    assert margin(row(0.6, 0.4), ["c0", "c1"]) == pytest.approx(0.1)
    assert margin(row(0.5, 0.1, 0.4), ["c0", "c1", "c2"]) == pytest.approx(0.1)


def test_where_every_slide_has_a_class_the_run_ends_with_how_to_call_others(ran: Path) -> None:
    (ran / "data" / "toys" / "s4.tiff").unlink()
    done = run(load_config("slides"), QUIET)
    assert done.found[-1] == (
        f"`medssl predict {done['model']} SLIDE.svs --out calls` calls a further slide"
    )
    assert len(run(load_config("bags"), QUIET).found) == 1  # the score; no file gives a bag


def test_a_metric_of_torchmetrics_stands_in_summary_and_report(toys: Path) -> None:
    chosen = "evaluate.metrics=[{torchmetrics:FBetaScore: {beta: 2}}]"
    done = run(load_config("bags", [chosen]), QUIET)
    summary = json.loads((done["report"].parent / "done.json").read_text())["summary"]
    key = "torchmetrics:FBetaScore beta 2.0"
    assert summary[f"{key}_low"] <= summary[key] <= summary[f"{key}_high"]
    assert "FBetaScore beta 2.0 ↑" in done["report"].read_text()


def test_what_is_done_is_not_done_again_and_a_change_is(ran: Path) -> None:
    run(load_config("bags"), QUIET)
    first = {path: path.stat().st_mtime_ns for path in Path("runs/bags").rglob("calls.json")}
    run(load_config("bags"), QUIET)
    assert first == {
        path: path.stat().st_mtime_ns for path in Path("runs/bags").rglob("calls.json")
    }
    run(load_config("bags", ["seed=1"]), QUIET)
    assert len(written()) == 2 * len(first) == 6


def test_a_run_killed_between_folds_continues_with_the_folds_that_are_missing(ran: Path) -> None:
    config = load_config("bags")
    whole = run(config, QUIET)
    expected = whole["scores"].read_text()
    plan = make_plan(config)
    for path in (
        plan.folder("run") / "done.json",
        plan.folder("train") / "done.json",
        plan.folder("train") / "fold2" / "calls.json",
        plan.folder("evaluate") / "done.json",
    ):
        path.unlink()
    kept = (plan.folder("train") / "fold0" / "calls.json").stat().st_mtime_ns
    assert run(config, QUIET)["scores"].read_text() == expected
    assert (plan.folder("train") / "fold0" / "calls.json").stat().st_mtime_ns == kept


def test_the_checkpoint_of_all_folds_scales_features_as_training_did(ran: Path) -> None:
    import torch

    done = run(load_config("bags"), QUIET)
    classifier, found = load_slide_checkpoint(done["model"])
    assert (found.members, found.classes) == (3, ("normal", "tumour"))
    assert 0 < found.threshold < 1
    far, near = torch.full((3, 4), 5.0), torch.full((3, 4), 5.0)
    far[0, 0] = 21
    assert classifier.head(far).probability[1] > classifier.head(near).probability[1]


def test_more_folds_than_a_class_has_patients_are_refused_with_what_works(toys: Path) -> None:
    with pytest.raises(UsageError, match=r"the class 'normal' has 12; set split\.folds=12, or add"):
        run(load_config("bags", ["split.folds=20"]), QUIET)
    assert len(make_plan(load_config("bags", ["split.folds=12"])).cohort.folds) == 12
    with pytest.raises(UsageError, match="one fold leaves nothing to learn from"):
        load_config("bags", ["split.folds=1"])


def test_the_model_may_be_trained_once_more_on_all_bags(ran: Path) -> None:
    """The folds give the scores all the same."""
    folded = run(load_config("bags"), QUIET)
    config = load_config("bags", ["split.final=refit"])
    plan = make_plan(config)
    done = run(config, QUIET)
    _, found = load_slide_checkpoint(done["model"])
    assert (found.members, sum(found.counts)) == (1, len(plan.cohort.split.labelled))
    assert {*plan.cohort.split.labelled, *plan.cohort.split.validation} == {
        case.id for case in plan.cohort.cases
    }
    assert done["scores"].read_text() == folded["scores"].read_text()
    assert done["model"] != folded["model"]


def test_slides_become_heat_maps_by_the_fold_that_did_not_learn_from_them(ran: Path) -> None:
    done = run(load_config("slides"), QUIET)
    drawn = {path.stem for path in done["maps"].glob("*.png")}
    assert drawn == {"s0", "s1", "s2", "s3", "s4"}  # s4 by all folds
    tiles = json.loads((done["maps"] / "s1.geojson").read_text())["features"]
    assert len(tiles) == 12  # 96 x 128 pixels of tissue in tiles of 32
    assert {"normal", "tumour"} <= {
        word for key in tiles[0]["properties"]["measurements"] for word in key.split()
    }


def test_outlined_lesions_are_looked_for_in_slides_that_were_held_out(ran: Path) -> None:
    done = run(load_config("slides"), QUIET)
    summary = json.loads((done["report"].parent / "done.json").read_text())["summary"]
    assert 0 <= summary["froc"] <= 1
    assert 0 <= summary["patch_auc"] <= 1
    assert summary["keys_found"] == 1  # fewer tiles than count as selected
    assert "FROC" in done["report"].read_text()


def test_a_new_slide_is_called_where_neither_pipeline_nor_data_exist(
    ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = run(load_config("slides"), QUIET)["model"].absolute()
    slide = (ran / "data" / "toys" / "s4.tiff").rename(ran / "new.tiff")
    monkeypatch.chdir(ran.parent)
    monkeypatch.delenv("MEDSSL_DATA")
    calls = predict_slides(checkpoint, [slide], ran / "out", QUIET)
    (call,) = rows(calls)
    assert call["slide"] == "new"
    assert call["prediction"] in {"normal", "tumour"}
    assert float(call["normal"]) + float(call["tumour"]) == pytest.approx(1, abs=1e-5)
    assert (ran / "out" / "new.geojson").is_file()
    assert (ran / "out" / "new.png").is_file()
    kept = calls.read_bytes()
    assert predict_slides(checkpoint, [slide], ran / "out", QUIET).read_bytes() == kept
    (ran / "out" / "new.png").write_bytes(b"another picture")
    with pytest.raises(UsageError, match=r"new\.png is in the way; .*changed after medssl"):
        predict_slides(checkpoint, [slide], ran / "out", QUIET)
    predict_slides(checkpoint, [slide], ran / "out", QUIET, overwrite=True)
    assert (ran / "out" / "new.png").read_bytes() != b"another picture"
    with pytest.raises(UsageError, match="holds the input"):
        predict_slides(checkpoint, [slide], slide.parent, QUIET)


def test_a_chain_is_remembered_and_done_to_new_slides(toys: Path) -> None:
    chain = "preprocess=[{ScaleIntensityRanged: {a_min: 0, a_max: 255, b_min: 255, b_max: 0}}]"
    plain, config = load_config("slides"), load_config("slides", [chain])
    assert make_plan(config).stages["train"].key != make_plan(plain).stages["train"].key
    done = run(config, QUIET)
    _, found = load_slide_checkpoint(done["model"])
    assert found.preprocess == config.pipeline.preprocess
    out = predict_slides(done["model"], [toys / "data/toys/s4.tiff"], toys / "out", QUIET)
    (new,) = rows(out)
    (same,) = [row for row in rows(done["calls"]) if row["slide"] == "s4"]
    assert float(new["tumour"]) == pytest.approx(float(same["tumour"]), abs=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("[{Resized: {spatial_size: [16, 16]}}]", "changes the size or the channels of tiles"),
        ("macenko", "no transform is called 'macenko'"),
        ("[medssl:NormaliseStaind]", "did you mean 'medssl:NormalizeStaind'"),
        ("[{Flipd: {spatial_axs: 0}}]", "no argument 'spatial_axs'; did you mean 'spatial_axis'"),
        ("{stain: macenko}", "stain is a key of slide; write {slide: {stain: ...}}"),
        ("mr", "no transform is called 'mr'"),
    ],
)
def test_chains_that_no_tile_can_go_through_are_refused(toys: Path, given: str, words: str) -> None:
    for name in ("slides", "dino"):
        with pytest.raises(UsageError, match=words):
            load_config(name, [f"preprocess={given}"])


def test_a_checkpoint_of_bags_cannot_read_slides(ran: Path) -> None:
    checkpoint = run(load_config("bags"), QUIET)["model"]
    slide = ran / "data" / "toys" / "s0.tiff"
    with pytest.raises(UsageError, match="cannot read slides"):
        predict_slides(checkpoint, [slide], ran / "out", QUIET)
    assert not (ran / "out").exists()


def test_files_that_are_no_slides_are_named(ran: Path) -> None:
    checkpoint = run(load_config("slides"), QUIET)["model"]
    with pytest.raises(DataError, match="does not exist"):
        predict_slides(checkpoint, [Path("nowhere.svs")], ran / "out", QUIET)
    with pytest.raises(DataError, match="is no slide"):
        predict_slides(checkpoint, [ran / "pipelines" / "bags.yaml"], ran / "out", QUIET)


def test_slides_without_any_label_are_refused(toys: Path) -> None:
    (toys / "data" / "toys" / "labels.csv").write_text("slide,label\n")
    with pytest.raises(UsageError, match="no case of slides has a class"):
        run(load_config("slides"), QUIET)


def test_a_data_set_of_volumes_is_refused(toys: Path) -> None:
    with pytest.raises(UsageError, match=r"from bags or slides; .* hippocampus holds volumes"):
        load_config("bags", ["data=hippocampus"])


def test_watching_the_test_bags_adds_the_optimistic_numbers_and_changes_no_other(
    ran: Path,
) -> None:
    plain, watched = (
        make_plan(load_config("bags", more)) for more in ([], ["train.watch_test=true"])
    )
    summaries = []
    for plan in (plain, watched):
        run(plan.config, QUIET)
        summaries.append(json.loads((plan.folder("evaluate") / "done.json").read_text())["summary"])
    assert set(summaries[1]) - set(summaries[0]) == {"optimistic_accuracy", "optimistic_auc"}
    assert summaries[0].items() <= summaries[1].items()


def test_runs_are_compared_bag_by_bag(toys: Path) -> None:
    with pytest.raises(UsageError, match="no finished runs"):
        compare("bags", "abmil")
    for method in ("abmil", "mean_pool"):
        run(load_config("bags", [f"method={method}"]), QUIET)
    head, first, second = str(compare("bags", "abmil")).splitlines()
    assert "- abmil" in head
    assert first.split()[:2] == ["abmil", "0"]
    assert second.split()[:2] == ["mean_pool", "0"]
    assert "[" in second.split("]", 1)[1]  # a second interval: that of the difference


def test_pre_training_hands_on_weights_that_a_pipeline_of_slides_takes(ran: Path) -> None:
    checkpoint = run(load_config("dino"), QUIET)["model"]
    weights = checkpoint / "weights.safetensors"
    told = Told()
    done = run(load_config("slides", [f"encoder.weights={weights}"]), told)
    (loaded,) = [note for note in told.notes if "matched" in note]
    assert loaded.startswith(f"weights {weights}: 100.0% of the parameters matched")
    assert loaded.endswith("0 missing, 0 of another shape, 0 unexpected")
    assert load_slide_checkpoint(done["model"])[1].encoder.weights == str(weights)
    plain = run(load_config("slides"), QUIET)
    assert plain["model"] != done["model"]


def test_an_encoder_of_other_tiles_is_warned_of(toys: Path) -> None:
    folder = run(load_config("dino", ["preprocess.slide.stain=macenko"]), QUIET)["model"]
    assert read_tile_encoder(folder).preprocess.plain == ["medssl:NormalizeStaind"]
    told = Told()
    run(load_config("slides", [f"pretrain={folder}", "train.epochs=1"]), told)
    assert [text for text in told.notes if "pre-trained on tiles that look otherwise" in text]


def test_pre_training_wants_slides(toys: Path) -> None:
    with pytest.raises(UsageError, match="dino learns from slides; the data set bags holds bags"):
        load_config("dino", ["data=bags"])


def test_a_pipeline_of_slides_pre_trains_its_encoder_first(toys: Path) -> None:
    told = Told()
    done = run(load_config("slides", ["pretrain=dino"]), told)
    (encoder,) = Path("runs/dino").glob("pretrain-*/checkpoint/last")
    assert load_slide_checkpoint(done["model"])[1].encoder.weights == str(
        encoder / "weights.safetensors"
    )
    assert any("slides starts from dino" in note for note in told.notes)
    given = run(load_config("slides", [f"pretrain={encoder}"]), QUIET)
    assert given == done  # weights count by content, however they came
    with pytest.raises(UsageError, match=r"does not fit the pipeline's encoder; set encoder.side"):
        run(load_config("slides", ["pretrain=dino", "encoder.side=64"]), QUIET)


def test_where_nothing_is_held_out_calls_are_shown_without_scores(toys: Path) -> None:
    done = run(load_config("bags", ["split.folds=0"]), QUIET)
    assert len(rows(done["calls"])) == 24
    assert "scores" not in done.paths
    page = done["report"].read_text()
    assert "No bag was held out" in page
    assert "ROC" not in page


def test_calls_of_loose_slides_are_scored_against_a_data_set(ran: Path) -> None:
    done = run(load_config("slides"), QUIET)
    slides = [ran / "data" / "toys" / f"s{number}.tiff" for number in range(5)]
    calls = predict_slides(done["model"], slides, ran / "out", QUIET)
    chosen = ["bootstrap=100", "metrics=[torchmetrics:MatthewsCorrCoef]"]
    said = evaluate_calls(calls, load_spec("slides"), ran / "scored", QUIET, chosen)
    assert said.startswith("4 of 5 slides: balanced accuracy ")
    assert ", torchmetrics:MatthewsCorrCoef " in said
    assert len(rows(ran / "scored" / "scores.csv")) == 4
    assert "<html" in (ran / "scored" / "report.html").read_text()
    with pytest.raises(DataError, match="is no table of calls"):
        evaluate_calls(ran / "scored" / "scores.csv", load_spec("slides"), ran / "scored")


def test_slides_start_from_an_imported_encoder_which_comes_along(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_ENCODERS", str(toys / "encoders"))
    file = plain_vit(toys, num_attention_heads=4)
    folder, _ = import_file(file, "theirs")
    told = Told()
    chosen = load_config("slides", ["pretrain=theirs", "train.epochs=1"])
    assert (chosen.pipeline.encoder.side, chosen.pipeline.encoder.mean) == (32, (0.5, 0.5, 0.5))
    done = run(chosen, told)
    assert [note for note in told.notes if "100.0% of the parameters matched" in note]
    kept = load_slide_checkpoint(done["model"])[0].encoder.state_dict()
    given = load_file(folder / "weights.safetensors")
    assert given.keys() == kept.keys()
    assert all(torch.equal(kept[name], value) for name, value in given.items())


def test_pre_training_on_tiles_goes_on_with_an_imported_encoder(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_ENCODERS", str(toys / "encoders"))
    folder, _ = import_file(plain_vit(toys, num_attention_heads=4), "theirs")
    how = ["pretrain=theirs", "train.steps=1", "train.optimiser.learning_rate=1e-12"]
    model = run(load_config("dino", how), QUIET)["model"]
    given, learnt = (load_file(one / "weights.safetensors") for one in (folder, model))
    assert given.keys() == learnt.keys()
    for name, value in given.items():
        torch.testing.assert_close(learnt[name], value, atol=1e-5, rtol=0)
