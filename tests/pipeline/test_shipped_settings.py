"""What the shipped pipelines and studies run, and that a resolved one runs the same again."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from medssl.pipeline.config import load_config, pipeline_names


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
    assert load_config(name).pipeline.preprocess.crop_foreground
