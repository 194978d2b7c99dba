"""The pre-training stage: who is seen, what it leaves, how it goes on, what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from medssl.data.layouts import find_cases
from medssl.data.split import patient_key
from medssl.errors import DataError, UsageError
from medssl.families.pretrain.config import PretrainConfig
from medssl.networks.build import build_encoder
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import cohort_of, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import carry_out_plan, run, with_encoder, with_finished_encoder
from medssl.train.encoder_checkpoint import load_encoder_weights, read_encoder
from tests.told import Told


def keys(*patients: str) -> set[str]:
    return {patient_key("heads", patient) for patient in patients}


ALL = keys(*(f"p{number}" for number in range(5)))


def test_probed_patients_are_not_learnt_from(encoder: PretrainConfig) -> None:
    plan = make_plan(encoder)
    held = {case.patient for _, cases in plan.cohort.probed for case in cases}
    assert len(held) == 2
    assert set(plan.cohort.seen) == ALL - keys(*held)
    moved = load_config("encoder", ["probe.seed=1"])
    assert {c.patient for _, cases in make_plan(moved).cohort.probed for c in cases} != held


def test_it_tells_what_the_probes_found_when_it_is_done_and_when_it_was(
    encoder: PretrainConfig,
) -> None:
    for _ in range(2):
        probes = str(run(encoder, QuietReporter())).splitlines()
        assert probes[0] == "probes of patients kept out of training:"
        assert any(line.startswith("  masked error: ") for line in probes)
        assert any("(untrained " in line for line in probes[1:])


def test_test_patients_of_named_pipelines_are_kept_out(heads: Path) -> None:
    plan = make_plan(load_config("encoder", ["exclude=masks"]))
    tested = make_plan(load_config("masks")).cohort.split.test
    assert len(tested) == 2
    assert not set(plan.cohort.seen) & keys(*tested)
    assert not {case.patient for _, cases in plan.cohort.probed for case in cases} & set(tested)


def test_only_what_shapes_the_encoder_makes_another_stage(encoder: PretrainConfig) -> None:
    def folder(*overrides: str) -> Path:
        return make_plan(load_config("encoder", overrides)).last.folder

    assert folder("train.threads=1", "title=x") == folder()
    assert folder("seed=1") != folder()
    assert folder("method.arm=cl") != folder()
    assert folder("probe.patients=1") != folder()


def test_a_run_leaves_an_encoder_that_describes_itself(encoder: PretrainConfig) -> None:
    plan = make_plan(encoder)
    assert carry_out_plan(plan, QuietReporter())["model"] == plan.model
    weights, found = load_encoder_weights(plan.model)
    build_encoder(found.network, 1, seed=0).load_state_dict(weights)
    assert found.seen == plan.cohort.seen
    assert found.contrasts == ("t1", "t2")
    assert (found.step, found.method["name"]) == (4, "modality_invariant")
    assert found.data[0].simulated
    resolved = yaml.safe_load((plan.last.folder / "config.yaml").read_text())
    assert resolved["train"]["steps"] == 4


def test_probes_are_kept_beside_what_needs_no_training(
    encoder: PretrainConfig, figures: None
) -> None:
    plan = make_plan(encoder)
    carry_out_plan(plan, QuietReporter())
    found = json.loads((plan.last.folder / "probes.json").read_text())
    assert set(found) == {
        "raw intensity", "gradient magnitude", "outline", "untrained", "untrained, z", "trained",
        "trained, z",
    }  # fmt: skip
    assert found["trained"]["gallery"] == 6  # 2 patients, 3 places
    assert {"top1", "rank", "modality", "masked_error", "t1-t2/top1"} <= set(found["trained"])
    assert "masked_error" not in found["trained, z"]
    pictures = sorted(path.name for path in (plan.last.folder / "pictures").iterdir())
    assert pictures == ["step_000000.png", "step_000002.png", "step_000004.png"]
    with (plan.last.folder / "metrics.jsonl").open() as lines:
        last = [json.loads(line) for line in lines][-1]
    assert last["probe/top1"] == found["trained"]["top1"]


def test_a_finished_stage_is_not_done_again(encoder: PretrainConfig) -> None:
    plan = make_plan(encoder)
    carry_out_plan(plan, QuietReporter())
    told = Told()
    carry_out_plan(plan, told)
    assert "pretrain is done already" in told.notes[0]


def test_probes_change_nothing_that_is_learnt(encoder: PretrainConfig) -> None:
    """The same patients, probed at every step or at the end only."""
    often = load_config("encoder", ["train.validate_every=1"])
    weights = []
    for config in (encoder, often):
        plan = make_plan(config)
        carry_out_plan(plan, QuietReporter())
        weights.append((plan.model / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_without_probes_nothing_is_held_out(heads: Path) -> None:
    plan = make_plan(load_config("encoder", ["probe.patients=0"]))
    assert set(plan.cohort.seen) == ALL
    carry_out_plan(plan, QuietReporter())
    assert not (plan.last.folder / "probes.json").exists()


def test_a_method_of_tiles_is_refused_on_volumes(heads: Path) -> None:
    with pytest.raises(UsageError, match=r"dino learns from slides; .* heads holds volumes"):
        load_config("encoder", ["method=dino"])


def test_masked_image_modelling_takes_every_scan(heads: Path) -> None:
    chosen = ["method={name: masked_image_modelling, masking: {cell: 4}, decoder_width: 2}"]
    plan = make_plan(load_config("encoder", chosen))
    carry_out_plan(plan, QuietReporter())
    assert read_encoder(plan.model).method["name"] == "masked_image_modelling"


def test_one_patient_cannot_be_told_apart(heads: Path) -> None:
    plan = make_plan(load_config("encoder", ["probe.patients=4"]))
    with pytest.raises(DataError, match=r"at least two patients.*method\.arm=mim"):
        carry_out_plan(plan, QuietReporter())
    assert not plan.last.folder.exists()


def test_nobody_left_to_learn_from_is_said(heads: Path) -> None:
    with pytest.raises(DataError, match="no patient of heads is left"):
        make_plan(load_config("encoder"), kept_out=ALL)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.patch=[9, 8, 8]", "train.patch"),
        ("method.masking.cell=5", "choose one of 1, 2, 4"),
        ("network.name=monai_unet", "encoder"),
        ("data=planted_keys", "volumes"),
        ("trian.steps=3", "did you mean 'train'"),
        ("network.frozen=true", "network.frozen leaves nothing to pre-train"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    heads: Path, override: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        carry_out_plan(make_plan(load_config("encoder", [override])), QuietReporter())
    assert not (heads / "runs").exists()


def test_a_pipeline_pre_trains_first_and_without_the_patients_it_tests(heads: Path) -> None:
    config = load_config("masks", ["pretrain=encoder", "pretrain.set=[probe.patients=1]"])
    assert with_finished_encoder(config, cohort_of(config)) is None
    done = run(config, QuietReporter())
    assert done["scores"].is_file()
    started = with_encoder(config, cohort_of(config), QuietReporter())
    assert started.pipeline.pretrain is not None
    seen = read_encoder(started.pipeline.pretrain.folder).seen
    cases = find_cases(config.spec)
    tested = {c.patient for c in cases if c.id in make_plan(started).cohort.split.test}
    assert len(seen) == 2
    assert not set(seen) & keys(*tested)
    finished = with_finished_encoder(config, cohort_of(config))
    assert finished is not None
    assert make_plan(finished).stages["evaluate"].done


def test_runs_of_one_seed_share_their_encoder_and_those_of_another_do_not(heads: Path) -> None:
    def folder(*overrides: str) -> Path:
        config = load_config(
            "masks", ["pretrain=encoder", "pretrain.set=[probe.patients=1]", *overrides]
        )
        found = with_encoder(config, cohort_of(config), QuietReporter()).pipeline.pretrain
        assert found is not None
        return found.folder

    assert folder("split.labels=1") == folder("split.labels=2")
    assert folder("seed=1") != folder()


def test_labels_are_never_read(encoder: PretrainConfig, heads: Path) -> None:
    for path in (heads / "data" / "heads").glob("*_seg.nii.gz"):
        path.write_bytes(b"no image")
    carry_out_plan(make_plan(encoder), QuietReporter())


def test_a_damaged_scan_is_named(encoder: PretrainConfig, heads: Path) -> None:
    patient = next(case for _, cases in make_plan(encoder).cohort.train for case in cases)
    path = patient.images["t2"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=path.name):
        carry_out_plan(make_plan(encoder), QuietReporter())


def test_numbers_are_finite(encoder: PretrainConfig) -> None:
    plan = make_plan(encoder)
    carry_out_plan(plan, QuietReporter())
    found = json.loads((plan.last.folder / "probes.json").read_text())
    assert all(np.isfinite(value) for row in found.values() for value in row.values())


@pytest.mark.parametrize("arm", ["mcl_mim", "cl"])
def test_a_2d_encoder_learns_from_slices_of_volumes(heads: Path, arm: str) -> None:
    flat = ["network={name: vnet, width: 2, levels: 2, norm: group}", "train.patch=[8, 8]"]
    model = run(load_config("encoder", [*flat, f"method.arm={arm}"]), QuietReporter())["model"]
    weights, found = load_encoder_weights(model)
    assert found.network.is_flat
    assert found.patch == (8, 8, 1)
    build_encoder(found.network, 1, 0).load_state_dict(weights)
    with pytest.raises(UsageError, match=r"it encodes 2-D images, .* set train\.patch"):
        load_config("masks", ["network=vnet"]).must_fit(found.network, "the encoder")
