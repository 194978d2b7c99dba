"""What the shipped pipelines and studies run, and that a resolved one runs the same again.

`python tests/pipeline/test_shipped_settings.py` writes what they run anew, where it was meant to
change; the difference of the file then says where.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import medssl
from medssl.data.spec import list_specs, load_spec
from medssl.pipeline.config import load_config, pipeline_names
from medssl.pipeline.league import load_any, places
from medssl.pipeline.study import Study, cells

GOLDEN = Path(__file__).with_name("golden") / "shipped.json"
SHIPPED = Path(medssl.__file__).parents[1] / "pipelines"
STUDIES = sorted(path.stem for path in SHIPPED.rglob("*_study.yaml"))


def resolved(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Every key of what a pipeline runs, of whichever family."""
    return load_config(name, overrides).resolved()


def columns(name: str) -> dict[str, Study]:
    """The studies of a file by what stands before their arms; one, unless it has several tasks."""
    found = load_any(name)
    if isinstance(found, Study):
        return {"": found}
    return {f"{one.task}, {one.protocol}: ": one.study for one in places(found)}


def arms(study: Study) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A study's own keys but for the arms, and what the first run of each arm is.

    All runs of an arm differ by the keys of the study alone.
    """
    first = {cell.arm: cell for cell in reversed(cells(study))}
    runs = {arm: resolved(study.pipeline, first[arm].overrides) for arm in sorted(first)}
    return study.model_dump(mode="json", exclude={"arms"}) | {"arms": list(study.arms)}, runs


def digest(plain: Any) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def study_digests(name: str) -> dict[str, str]:
    found = {}
    for before, study in columns(name).items():
        keys, runs = arms(study)
        found[f"{before}study"] = digest(keys)
        found |= {f"{before}arm {arm}": digest(plain) for arm, plain in runs.items()}
    return found


def measured() -> dict[str, Any]:
    return {
        "data specs": {
            name: digest(load_spec(name).model_dump(mode="json")) for name in list_specs()
        },
        "pipelines": {name: digest(resolved(name)) for name in pipeline_names()},
        "studies": {name: study_digests(name) for name in STUDIES},
    }


def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text())
    return found


def test_what_is_shipped_is_what_is_written_down() -> None:
    written = golden()
    assert list_specs() == sorted(written["data specs"])
    assert pipeline_names() == sorted(written["pipelines"])
    assert sorted(written["studies"]) == STUDIES


@pytest.mark.parametrize("name", list_specs())
def test_a_data_spec_says_what_it_said(name: str) -> None:
    assert digest(load_spec(name).model_dump(mode="json")) == golden()["data specs"][name]


@pytest.mark.parametrize("name", pipeline_names())
def test_a_pipeline_runs_what_it_ran(name: str) -> None:
    assert digest(resolved(name)) == golden()["pipelines"][name]


@pytest.mark.parametrize("name", STUDIES)
def test_every_arm_of_a_study_runs_what_it_ran(name: str) -> None:
    assert study_digests(name) == golden()["studies"][name]


@pytest.mark.parametrize("name", pipeline_names())
def test_what_a_run_resolved_is_itself_a_pipeline_of_the_same_run(
    name: str, tmp_path: Path
) -> None:
    config = load_config(name)
    path = tmp_path / "resolved.yaml"
    path.write_text(yaml.safe_dump(config.resolved()))
    again = load_config(str(path))
    assert again.resolved() == config.resolved()
    sections = [key for key in config.resolved() if key not in {"name", "title", "pretrain"}]
    assert again.hash(*sections) == config.hash(*sections)


def test_a_rate_for_knees_leaves_the_optimiser_of_graders() -> None:
    for name in ("knee", "knee_slices"):
        optimiser = load_config(name).pipeline.train.optimiser
        found = (optimiser.name, optimiser.schedule, optimiser.weight_decay)
        assert found == ("adam", "constant", 0.0)
    arm = load_config("knee", ["train.optimiser.learning_rate=0.03"])
    assert arm.pipeline.train.optimiser.model_dump() | {"learning_rate": 1e-3} == (
        load_config("knee").pipeline.train.optimiser.model_dump()
    )


def test_a_rate_for_slides_leaves_the_optimiser_of_heads() -> None:
    config = load_config("mil", ["train.optimiser.learning_rate=0.01"])
    optimiser = config.pipeline.train.optimiser
    assert (optimiser.name, optimiser.betas, optimiser.schedule) == ("adam", (0.5, 0.9), "cosine")


def test_small_prototypes_leave_the_queues_of_joint2d3d() -> None:
    method: Any = load_config("joint2d3d").method
    assert (method.images.queue, method.volumes.queue) == (1024, 1024)


@pytest.mark.parametrize(
    "name", ["left_atrium_alice", "hippocampus_encoder", "left_atrium_embedding"]
)
def test_a_way_of_preprocessing_leaves_the_crop_of_pre_training(name: str) -> None:
    steps = [step.name for step in load_config(name).pipeline.preprocess.steps]
    assert "medssl:CropMarkedd" in steps


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(measured(), indent=1, sort_keys=True) + "\n")
