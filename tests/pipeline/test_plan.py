"""A pipeline that leaves its sizes to a plan: made once, for all arms, below given keys."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from medssl.data.plan import budget, fingerprint
from medssl.data.plan.fingerprint import CaseFacts
from medssl.data.spec import Case
from medssl.data.volume import read_volume, write_mask, write_volume
from medssl.errors import UsageError
from medssl.families.segment.plannable import plannable
from medssl.families.segment.planning import training_scans
from medssl.networks.unet_settings import UNetSettings
from medssl.pipeline.config import Config, load_config
from medssl.pipeline.plan import cohort_of, make_plan
from medssl.pipeline.planned import plan_in_words, with_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run

PLANNED = """# A comment.
title: Balls
data: balls  # these
plan: {device: cpu}
split: {labels: 2, test: 2}
network: {name: vnet, width: 2, levels: 2, norm: instance, dropout: 0}
method: supervised
train:
  device: cpu
  # Few, for a test.
  steps: 2
"""


@pytest.fixture
def open_balls(balls: Path) -> Path:
    """The balls, with a pipeline that says little of its sizes."""
    (balls / "pipelines" / "open.yaml").write_text(PLANNED)
    return balls


def settle(overrides: Sequence[str] = ()) -> Config[Any]:
    """The planned run."""
    config = load_config("open", overrides)
    return with_plan(config, cohort_of(config), QuietReporter())


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cases that were read, in order."""
    seen: list[str] = []
    read = fingerprint.look_at

    def counted(case: Case, *given: Any) -> CaseFacts:
        seen.append(case.id)
        return read(case, *given)

    monkeypatch.setattr(fingerprint, "look_at", counted)
    return seen


def test_sizes_are_those_of_the_scans(open_balls: Path) -> None:
    pipeline = settle().pipeline
    assert pipeline.train.patch == (12, 12, 12)
    assert pipeline.train.batch_labelled == 2
    assert {"medssl:FieldSpacingd": {"pixdim": [2.0, 1.0, 1.0]}} in pipeline.preprocess.plain


def test_a_given_key_goes_before_the_plan(open_balls: Path) -> None:
    given = ["train.patch=[8,8,8]", "preprocess={mr: {spacing: [1,1,1]}}", "augment=basic"]
    pipeline = settle(given).pipeline
    assert pipeline.train.patch == (8, 8, 8)
    assert pipeline.train.steps == 2
    assert {"medssl:FieldSpacingd": {"pixdim": [1, 1, 1]}} in pipeline.preprocess.plain
    assert "medssl:ZScored" in pipeline.preprocess.plain  # what was not given is planned
    assert pipeline.augment.word == "basic"


def test_the_patch_follows_from_the_spacing_that_is_given(open_balls: Path) -> None:
    assert settle(["preprocess={mr: {spacing: [1,1,1]}}"]).pipeline.train.patch == (24, 12, 12)


def test_a_chain_by_its_word_gets_planned_keys(open_balls: Path) -> None:
    assert settle(["preprocess=mr"]).pipeline.preprocess == settle().pipeline.preprocess


def test_few_steps_are_made_with_adam_unless_the_optimiser_is_given(open_balls: Path) -> None:
    planned = settle().pipeline.train.optimiser
    assert (planned.name, planned.learning_rate) == ("adam", 0.003)
    given = settle(["train.optimiser.learning_rate=0.02"]).pipeline.train.optimiser
    assert (given.name, given.learning_rate) == ("sgd", 0.02)
    given = settle(["train.optimiser.weight_decay=0"]).pipeline.train.optimiser
    assert (given.name, given.learning_rate, given.weight_decay) == ("adam", 0.003, 0)


@pytest.mark.parametrize(
    ("augment", "left"),
    [
        (None, True),
        ("standard", True),
        ({"standard": {"noise_chance": 0}}, True),
        ({"standard": {"mirror_axes": [0]}}, False),
        ({"basic": {}}, False),
        ([{"RandFlipd": {"prob": 0.5}}], False),
    ],
)
def test_axes_that_mirror_are_planned_unless_they_or_other_changes_are_given(
    augment: Any, left: bool
) -> None:
    """One other key given once brought back the mirroring of axes whose ends labels tell apart."""
    assert ("augment.standard.mirror_axes" in plannable({"augment": augment}, "MR")) is left


def _mark(overrides: Sequence[str], *places: int) -> None:
    """Give every labelled case a small cube, at these places in turn."""
    cohort = cohort_of(load_config("open", overrides))
    labelled = [case for case in cohort.cases if case.id in cohort.split.labelled]
    for case, at in zip(labelled, cycle(places), strict=False):
        grid = read_volume(case.label).geometry
        small = np.zeros(grid.shape, np.uint8)
        small[at : at + 2, at : at + 2, at : at + 2] = 3
        write_mask(small, grid, case.label)


def test_what_keeps_to_its_place_is_not_mirrored_in_few_steps(open_balls: Path) -> None:
    four = ["split.labels=4"]
    _mark(four, 1, 3, 5, 8)
    assert settle(four).pipeline.mirrored == (0, 1, 2)
    _mark(four, 4)
    assert settle(four).pipeline.mirrored == ()
    with pytest.raises(UsageError, match=r"set augment\.standard\.mirror_axes=\[0\]"):
        settle([*four, "predict.flips=true"])
    given = settle([*four, "augment.standard.mirror_axes=[1,2]", "predict.flips=true"])
    assert given.pipeline.mirrored == (1, 2)
    on_a_gpu = settle([*four, "plan={device: cuda, memory: 8GB}"])
    assert on_a_gpu.pipeline.mirrored == (0, 1, 2)
    assert settle(["split.labels=3"]).pipeline.mirrored == (0, 1, 2)  # too few to know


def test_a_network_is_planned_level_by_level(open_balls: Path) -> None:
    """Voxels are 2 x 1 x 1 mm: the first axis is halved once the others are as coarse."""
    network = settle(["network=plain_unet"]).pipeline.network
    assert isinstance(network, UNetSettings)
    assert network.features == (8, 16, 32)
    assert network.strides == ((1, 1, 1), (1, 2, 2), (2, 1, 1))
    assert network.kernels == ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    assert (network.blocks, network.decoder_convs) == ((1, 2, 2), (1, 1))  # on a CPU
    assert network.deep_supervision
    assert settle(["network=plain_unet"]).pipeline.train.channels_last  # of eight, on a CPU
    assert not settle().pipeline.train.channels_last  # the V-Net of the file has its own layout


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("features", (4, 8)),
        ("features", (4, 8, 16, 32, 64)),  # more levels than are planned
        ("deep_supervision", False),
        ("strides", ((1, 1, 1), (2, 2, 2))),
    ],
)
def test_each_key_of_a_planned_network_can_be_given(open_balls: Path, key: str, value: Any) -> None:
    text = str(value).replace("(", "[").replace(")", "]").lower().replace(" ", "")
    config = settle(["network={name: plain_unet}", f"network.{key}={text}"])
    assert getattr(config.pipeline.network, key) == value
    assert make_plan(config).stages["train"]


def test_the_network_is_planned_where_none_is_given(open_balls: Path) -> None:
    path = open_balls / "pipelines" / "open.yaml"
    path.write_text("\n".join(line for line in PLANNED.splitlines() if "vnet" not in line))
    assert settle().pipeline.network.name == "plain_unet"
    given = settle(["network.decoder_convs=1"]).pipeline.network
    assert isinstance(given, UNetSettings)
    assert given.decoder_convs == (1, 1)
    large = settle(["plan={memory: 24GB, device: cuda}"]).pipeline
    assert large.network.name == "residual_unet"
    assert large.train.steps == 2


def test_a_wrong_key_of_a_planned_network_is_refused(open_balls: Path) -> None:
    with pytest.raises(UsageError, match=r"network\.featurs"):
        settle(["network={name: plain_unet, featurs: [4, 8]}"])


def test_a_chain_of_transforms_stays_as_it_is(open_balls: Path) -> None:
    pipeline = settle(["preprocess=[{ScaleIntensityd: {}}]"]).pipeline
    assert pipeline.preprocess.plain == ["ScaleIntensityd"]
    assert pipeline.train.patch == (12, 12, 12)


def test_every_scan_is_read_once_and_none_that_is_tested(
    open_balls: Path, looks: list[str]
) -> None:
    config = load_config("open")
    cohort = cohort_of(config)
    settle()
    assert sorted(looks) == sorted({case.id for case in cohort.cases} - set(cohort.split.test))
    assert not set(looks) & set(cohort.split.test)
    looks.clear()
    settle()  # the plan is kept
    for path in (open_balls / "runs" / "open").glob("plan-*.yaml"):
        path.unlink()
    settle()  # what was found in each scan is kept, too
    assert looks == []


def test_a_validation_case_is_not_looked_at(open_balls: Path, looks: list[str]) -> None:
    overrides = ["split.labels=4", "split.validation=0.5"]
    config = load_config("open", overrides)
    settle(overrides)
    assert len(cohort_of(config).split.validation) == 2
    assert not set(looks) & set(cohort_of(config).split.validation)


@pytest.mark.parametrize("other", ["method=tracoco", "train.log_every=1"])
def test_all_arms_share_a_plan(open_balls: Path, other: str) -> None:
    own, others = settle(), settle([other])
    assert own.pipeline.train.patch == others.pipeline.train.patch
    assert len(list((open_balls / "runs" / "open").glob("plan-*.yaml"))) == 1


@pytest.mark.parametrize("other", ["split.labels=4", "seed=3"])
def test_label_budgets_and_seeds_share_all_that_masks_do_not_say(
    open_balls: Path, other: str
) -> None:
    own, others = (settle(one).pipeline for one in ((), [other]))
    assert (own.train.patch, own.network) == (others.train.patch, others.network)
    on_a_gpu = ["plan={device: cuda, memory: 8GB}"]
    before = len(list((open_balls / "runs" / "open").glob("plan-*.yaml")))
    settle(on_a_gpu)
    settle([*on_a_gpu, other])  # which looks at no mask
    assert len(list((open_balls / "runs" / "open").glob("plan-*.yaml"))) == before + 1


def test_masks_bound_how_large_voxels_become(
    open_balls: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight voxels of 2 cubic millimetres are 3.1 mm across: too little for larger voxels."""
    monkeypatch.setattr(budget, "CPU", replace(budget.CPU, volumes=21_000.0))
    little = ["plan={device: cpu}"]
    assert _spacing(settle(little)) == pytest.approx([2, 1.27, 1.27], abs=0.01)
    _mark(little, 4)
    assert _spacing(settle(little)) == [2, 1, 1]
    assert "3.13 mm across, are to stay 4 voxels across" in plan_in_words(
        "open", little, QuietReporter()
    )
    looks.clear()
    settle(little)
    assert looks == []


def _spacing(config: Config[Any]) -> list[float]:
    (step,) = [one for one in config.pipeline.preprocess.plain if "medssl:FieldSpacingd" in one]
    return list(step["medssl:FieldSpacingd"]["pixdim"])


def test_another_scan_is_another_plan(open_balls: Path) -> None:
    settle()
    path = next(iter((open_balls / "data" / "balls").glob("c1.nii.gz")))
    volume = read_volume(path)
    write_volume(volume.array[0] + 1, volume.geometry, path)
    settle()
    assert len(list((open_balls / "runs" / "open").glob("plan-*.yaml"))) == 2


def test_labels_that_are_not_learnt_from_are_not_read(open_balls: Path) -> None:
    config = load_config("open")
    cohort = cohort_of(config)
    scans = training_scans(cohort, keeps_labels=True)
    assert {case.id for case in scans if case.label is not None} == set(cohort.split.labelled)
    assert all(case.label is None for case in training_scans(cohort, keeps_labels=False))


def test_a_run_resolves_to_the_planned_keys(open_balls: Path) -> None:
    config = settle()
    resolved = config.resolved()
    assert resolved["train"]["patch"] == [12, 12, 12]
    again = {key: value for key, value in resolved.items() if key != "name"}
    (open_balls / "pipelines" / "again.yaml").write_text(yaml.safe_dump(again))
    whole = load_config("again")
    assert whole.is_planned  # every key is given
    keys = [next(iter(make_plan(one).stages.values())).key for one in (whole, config)]
    assert keys[0] == keys[1]


def test_writing_completes_the_file_and_keeps_all_that_it_says(open_balls: Path) -> None:
    path = open_balls / "pipelines" / "open.yaml"
    planned = settle()
    said = plan_in_words("open", [], QuietReporter(), write=True)
    text = path.read_text()
    for line in PLANNED.splitlines():
        assert line in text.splitlines()
    before, after = yaml.safe_load(PLANNED), yaml.safe_load(text)
    assert after["train"] == before["train"] | {
        "patch": [12, 12, 12],
        "batch_labelled": 2,
        "batch_unlabelled": 2,
        "optimiser": {"name": "adam", "learning_rate": 0.003},
    }
    assert "10 keys into" in said
    written = load_config("open")
    assert written.is_planned
    assert written.pipeline.model_dump() == planned.pipeline.model_dump()
    assert "every key that could be planned is given" in plan_in_words("open", [], QuietReporter())
    assert path.read_text() == text


def test_a_shipped_pipeline_is_not_written_to(open_balls: Path) -> None:
    with pytest.raises(UsageError, match="is a pipeline of medssl; it is not changed"):
        plan_in_words("left_atrium", [], QuietReporter(), write=True)


def test_what_is_planned_is_shown_with_reasons(open_balls: Path) -> None:
    said = plan_in_words("open", [], QuietReporter())
    plain = yaml.safe_load(said)
    assert plain["train"] == {
        "patch": [12, 12, 12],
        "batch_labelled": 2,
        "batch_unlabelled": 2,
        "optimiser": {"name": "adam", "learning_rate": 0.003},
    }
    lines = said.splitlines()
    for number, line in enumerate(lines):
        if not line.strip().startswith("#") and not line.endswith(":"):
            assert lines[number - 1].strip().startswith("#"), line


def test_too_little_memory_is_one_sentence_with_the_nearest_that_works(open_balls: Path) -> None:
    asked = ["plan={memory: 0.1MB, device: cuda}", "preprocess={mr: {spacing: [0.1,0.1,0.1]}}"]
    with pytest.raises(UsageError, match=r"^0\.1MB of memory hold no patch at all") as raised:
        settle(asked)
    nearest = str(raised.value).split("--memory ")[1].split("`")[0]
    asked[0] = f"plan={{memory: {nearest}, device: cuda}}"
    assert settle(asked).pipeline.train.patch == (8, 8, 8)


def test_too_little_memory_for_a_cpu_is_refused_with_what_works(open_balls: Path) -> None:
    """In the pipeline as on the command line, though its smallest patch is next to nothing."""
    asked = ["plan={memory: 1MB, device: cpu}"]
    sentence = (
        r"^1MB of memory hold no patch at all; a training on a CPU takes 1 GB; "
        r"the nearest that works is plan\.memory=1GB \(`--memory 1GB`\)"
    )
    with pytest.raises(UsageError, match=sentence):
        settle(asked)
    with pytest.raises(UsageError, match=sentence):
        plan_in_words("open", asked, QuietReporter())
    assert settle(["plan={memory: 1GB, device: cpu}"]).pipeline.train == settle().pipeline.train


def test_features_beyond_a_cpu_are_told_without_a_memory(open_balls: Path) -> None:
    with pytest.raises(UsageError, match=r"^no patch fits a CPU.* give fewer network\.features$"):
        settle(["plan={device: cpu}", "network={name: plain_unet, features: [6000, 6000]}"])


@pytest.mark.parametrize("memory", ["much", "0GB", "-1GB", "8 apples"])
def test_a_memory_that_is_none_is_refused(open_balls: Path, memory: str) -> None:
    with pytest.raises(UsageError, match=r"plan\.memory.*give a memory such as 8GB"):
        load_config("open", [f"plan.memory={memory}"])


def test_a_pipeline_of_another_family_is_not_planned(open_balls: Path) -> None:
    with pytest.raises(UsageError, match="nothing is planned for the pipeline knee"):
        plan_in_words("knee", [], QuietReporter())


def test_a_damaged_scan_is_named(open_balls: Path) -> None:
    config = load_config("open")
    broken = cohort_of(config).split.labelled[0]
    (open_balls / "data" / "balls" / f"{broken}.nii.gz").write_bytes(b"no image")
    with pytest.raises(Exception, match=f"{broken}.nii.gz"):
        settle()


def test_a_damaged_plan_is_made_again(open_balls: Path) -> None:
    settle()
    (path,) = (open_balls / "runs" / "open").glob("plan-*.yaml")
    whole = path.read_text()
    path.write_text(whole[:100])
    settle()
    assert path.read_text() == whole


@pytest.mark.parametrize("method", ["supervised", "tracoco"])
def test_a_planned_run_trains_predicts_and_says_what_it_ran(open_balls: Path, method: str) -> None:
    config = load_config("open", ["network=plain_unet", f"method={method}"])
    done = run(config, QuietReporter())
    assert len(list(done["masks"].glob("*_entropy.nii.gz"))) == 2
    (train,) = (open_balls / "runs" / "open").glob("train-*")
    resolved = yaml.safe_load((train / "config.yaml").read_text())
    assert resolved["network"]["features"] == [8, 16, 32]
    assert resolved["train"]["patch"] == [12, 12, 12]
    before = sorted(path.name for path in (open_balls / "runs" / "open").iterdir())
    run(config, QuietReporter())  # nothing is left to do
    assert sorted(path.name for path in (open_balls / "runs" / "open").iterdir()) == before


def test_a_rehearsal_keeps_the_test_cases_from_scores_plans_and_encoders(balls: Path) -> None:
    """Its own test cases are scored; those set aside are in no role, but kept from encoders."""
    real = cohort_of(load_config("balls", ["split.test=2"]))
    keys = ["split.test=2", "split.rehearsal=1", "split.labels=2"]
    cohort = cohort_of(load_config("balls", keys))
    aside = {case.id for case in real.test}
    scored = {case.id for case in cohort.test}
    assert len(scored) == 1
    assert not scored & aside
    assert {case.id for case in cohort.kept_from_pretraining} == scored | aside
    assert not {case.id for case in training_scans(cohort, keeps_labels=True)} & (scored | aside)
