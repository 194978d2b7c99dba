"""A cross-validation of segmentation: who is left out, what is chosen, and where results are."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from medssl.atomic import write_text
from medssl.data.geometry import Geometry
from medssl.data.layouts import find_cases
from medssl.data.volume import write_mask
from medssl.errors import DataError
from medssl.families.segment.cross_validation import (
    HeldOut,
    choose,
    choose_for_all,
    corrected,
    helps,
    size_errors,
)
from medssl.families.segment.foreground import foreground
from medssl.families.segment.predict import asked_of_run
from medssl.infer import size_error
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.settings import PredictSettings
from medssl.train.checkpoint import read_description

FOLDED = ("split={folds: 3, labels: 4, test: 0, validation: 0}", "train.steps=2")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ([0.1, 0.1, 0.1, 0, 0, 0, 0, 0], True),
        ([0.1, 0.1, 0.1, -0.01, 0, 0, 0, 0], True),  # one of eight may fall
        ([0.1, 0.1, 0.1, -0.01, -0.01, 0, 0, 0], False),
        ([0.1, 0.1, 0, 0, 0, 0, 0, 0], False),  # fewer than three rise
        ([0.01, 0.01, 0.01, -0.1, 0, 0, 0, 0], False),  # the mean falls
        ([0.1] * 3 + [0] * 13, True),
        ([0.1] * 3 + [-0.01] * 2 + [0] * 11, True),  # two of sixteen may fall
        ([0.1] * 3 + [-0.01] * 2 + [0] * 10, False),  # of fifteen but one
        ([0.1, 0.1, 0.1, -0.01, 0, 0, 0], False),  # of fewer than eight none
        ([0.1, 0.1, 0.1, 0], True),
        ([0.1, 0.1, 0.1, -0.01], False),
        ([0.1, 0.1, 0, 0], False),
        ([0.1, 0.1, 0.1], True),
        ([0.1, 0.1], False),  # two cases can choose nothing
        ([0.1], False),
        ([1e-9] * 8, False),  # no difference
        ([0] * 8, False),
    ],
)
def test_a_correction_is_chosen_where_enough_cases_rise_and_few_fall(change, wanted):
    before = np.full(len(change), 0.8)
    assert helps(list(before), list(before + change)) is wanted


def held_out(**gains: float) -> HeldOut:
    """Four cases of one class, of which each correction changes the Dice of 0.8 by its gain."""
    found = {"none": 0.8} | {
        name: 0.8 + gains.get(name, 0) for name in ("largest", "smallest", "holes")
    }
    return HeldOut({"ball": 0.2}, {f"c{n}": {"ball": found} for n in range(4)})


def test_what_helped_is_set_and_what_was_given_stays(balls: Path) -> None:
    spec = load_config("balls").spec
    folds = [held_out(smallest=0.1, holes=0.1), held_out(smallest=0.1, holes=0.1)]
    helped = {
        "largest_component": (),
        "smallest_ml": {"ball": 0.2},
        "fill_holes": ("ball",),
    }
    assert choose(folds) == helped
    for number, fold in enumerate(folds):
        write_text(balls / f"fold{number}" / "held_out.json", json.dumps(asdict(fold)))
    choose_for_all(balls, 2, spec)
    for number in (None, 0, 1):
        found = corrected(PredictSettings(), balls, number, spec)
        assert {key: getattr(found, key) for key in helped} == helped
    given = corrected(PredictSettings(fill_holes=False, smallest_ml=1.0), balls, None, spec)
    assert (given.largest_component, given.smallest_ml, given.fill_holes) == ((), 1.0, False)


def test_a_fold_is_corrected_as_the_others_suggest(balls: Path) -> None:
    spec = load_config("balls").spec
    for number, fold in enumerate([held_out(holes=0.1), held_out()]):
        write_text(balls / f"fold{number}" / "held_out.json", json.dumps(asdict(fold)))
    choose_for_all(balls, 2, spec)
    holes = [corrected(PredictSettings(), balls, n, spec).fill_holes for n in (None, 0, 1)]
    assert holes == [("ball",), (), ("ball",)]


def held_sizes(**found: float) -> HeldOut:
    """Two cases whose outline is 2 ml, and what each correction makes of their masks."""
    sizes = {"outlined": 2.0, "none": 2.6} | found
    return HeldOut({"ball": 0.2}, {}, {f"c{n}": {"ball": sizes} for n in range(2)})


@pytest.mark.parametrize(
    ("settings", "off"),
    [
        ({}, 1.3),
        ({"largest_component": False, "smallest_ml": {}, "fill_holes": ()}, 1.3),
        ({"largest_component": True}, 1.2),
        ({"smallest_ml": {"ball": 0.2}}, 1.15),  # as the folds chose
        ({"smallest_ml": 0.2, "fill_holes": True}, 1.05),
        ({"smallest_ml": {"ball": 0.0}}, 1.3),
        ({"smallest_ml": {"ball": 0.1}}, None),  # which no fold has tried
        ({"smallest_ml": 1.0}, None),
        ({"largest_component": ("ball",), "smallest_ml": 0.2}, None),  # nor both together
        ({"largest_component": ("ball",), "fill_holes": ("ball",)}, 1.1),
    ],
)
def test_sizes_are_compared_as_masks_are_corrected(settings, off, tmp_path: Path) -> None:
    fold = held_sizes(
        largest=2.4,
        smallest=2.3,
        holes=2.7,
        **{"largest holes": 2.2, "smallest holes": 2.1},
    )
    write_text(tmp_path / "fold0" / "held_out.json", json.dumps(asdict(fold)))
    found = size_errors(tmp_path, 1, PredictSettings(**settings))
    if off is None:
        assert found == {}
    else:
        assert found["ball"].cases == 2
        assert found["ball"].error == pytest.approx(np.log(off))


def test_folds_of_earlier_versions_say_nothing_of_sizes(tmp_path: Path) -> None:
    plain = asdict(held_out())
    del plain["ml"]
    write_text(tmp_path / "fold0" / "held_out.json", json.dumps(plain))
    assert size_errors(tmp_path, 1, PredictSettings()) == {}


def test_the_largest_part_alone_makes_a_smallest_size_needless():
    both = [held_out(largest=0.1, smallest=0.1)]
    assert choose(both)["largest_component"] == ("ball",)
    assert choose(both)["smallest_ml"] == {}


def test_a_structure_that_is_declared_as_one_part_keeps_it_whatever_the_folds_say() -> None:
    worse = [held_out(largest=-0.1)]
    assert choose(worse)["largest_component"] == ()
    assert choose(worse, {"ball"})["largest_component"] == ("ball",)


@pytest.mark.parametrize("folds", [0, 3])
def test_a_data_spec_may_say_that_a_structure_is_one_part(balls: Path, folds: int) -> None:
    plain = make_plan(load_config("balls")).stages["train"].key
    path = balls / "data_specs" / "balls.yaml"
    path.write_text(path.read_text().replace("name: ball}", "name: ball, one_part: true}"))
    assert make_plan(load_config("balls")).stages["train"].key != plain
    more = [f"split={{folds: {folds}, labels: 3, validation: 0}}", "train.steps=2"]
    model = run(load_config("balls", more), QuietReporter())["model"]
    assert read_description(model).predict.largest_component == ("ball",)


def test_a_correction_that_was_off_in_training_is_chosen_where_it_is_no_longer(balls: Path) -> None:
    """Trainings do not depend on `predict`, so both runs share one."""
    path = balls / "data_specs" / "balls.yaml"
    path.write_text(path.read_text().replace("name: ball}", "name: ball, one_part: true}"))
    off = run(load_config("balls", ["predict.largest_component=false"]), QuietReporter())
    null = make_plan(load_config("balls"))
    assert null.model == off["model"]
    assert read_description(null.model).predict.largest_component is False
    asked = asked_of_run(null, null.model, null.folder("predict"), ["c0"])
    assert asked.settings.largest_component == ("ball",)


@pytest.mark.parametrize("final", ["refit", "ensemble"])
def test_a_run_with_folds_scores_every_labelled_case_and_leaves_one_model(
    balls, final, monkeypatch
):
    monkeypatch.setattr(size_error, "LARGEST", 1e9)  # after two steps models are wrong by far
    config = load_config("balls", [*FOLDED, f"split.final={final}"])
    outcome = run(config, QuietReporter())
    cohort = make_plan(config).cohort
    scores = (outcome["scores"]).read_text().splitlines()
    assert {line.split(",")[0] for line in scores[1:]} == set(cohort.split.labelled)
    model = read_description(outcome["model"])
    assert model.members == (1 if final == "refit" else 3)
    train = make_plan(config).folder("train")
    held = [json.loads((train / f"fold{n}" / "held_out.json").read_text())["ml"] for n in range(3)]
    assert sorted(case for fold in held for case in fold) == sorted(cohort.split.labelled)
    assert model.size_errors == size_errors(train, 3, model.predict)
    assert model.size_errors["ball"].cases == 4
    assert isinstance(model.predict.largest_component, tuple)
    chosen = json.loads((outcome["model"].parents[1] / "corrections.json").read_text())
    assert len(chosen["folds"]) == 3
    assert "Cross-validated on 4 labelled cases" in outcome["report"].read_text()
    again = run(config, QuietReporter())
    assert again.paths == outcome.paths


def test_test_cases_are_scored_by_the_model_and_the_folds_beside_them(balls):
    config = load_config("balls", ["split={folds: 2, labels: 3, validation: 0}", "train.steps=2"])
    plan = make_plan(config)
    assert {case.id for case in plan.cohort.test} == set(plan.cohort.split.test)
    outcome = run(config, QuietReporter())
    folder = outcome["scores"].parent
    beside = (folder / "cross_validation.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in beside[1:]} == set(plan.cohort.split.labelled)
    assert "Cross-validated on 3 labelled cases" in outcome["report"].read_text()


def test_cases_are_kept_for_validation_where_it_chooses_and_not_elsewhere(balls):
    """The pipeline's own share is half; null keeps a quarter, or none."""
    chosen = ["split.validation=null", "split.labels=4", "split.test=0"]
    last = make_plan(load_config("balls", chosen)).cohort.split
    best = make_plan(load_config("balls", [*chosen, "predict.checkpoint=best"])).cohort.split
    assert (len(last.labelled), len(last.validation)) == (4, 0)
    assert (len(best.labelled), len(best.validation)) == (3, 1)


def test_the_volume_of_each_class_is_read_from_its_mask_once(balls: Path) -> None:
    """Two voxels of 2 mm x 1 mm x 1 mm are 0.004 ml."""
    spec = load_config("balls").spec
    case = next(case for case in find_cases(spec) if case.id == "c0")
    mask = np.zeros((12, 12, 12), np.uint8)
    mask[3, 3, :2] = 3
    write_mask(mask, Geometry(mask.shape, np.diag([2.0, 1.0, 1.0, 1.0])), case.label)
    assert foreground([case], spec) == {"c0": {"ball": pytest.approx(0.004)}}
    (known,) = Path(".cache/medssl/balls/foreground").iterdir()
    assert json.loads(known.read_text()) == foreground([case], spec)["c0"]


def test_a_mask_that_cannot_be_read_is_refused_where_it_is_learnt_from(balls: Path) -> None:
    (balls / "data" / "balls" / "c0_seg.nii.gz").write_bytes(b"no mask")
    config = load_config("balls", ["split={folds: 4, labels: null, test: 0}", "train.steps=2"])
    with pytest.raises(DataError, match="c0"):
        run(config, QuietReporter())
