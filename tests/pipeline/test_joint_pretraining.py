"""Joint 2D-3D in the pre-training stage: images and volumes in, an encoder for both out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medssl.errors import UsageError
from medssl.families.segment.start import load_start
from medssl.networks.grader import build_grader
from medssl.networks.grader_settings import GraderSettings
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import carry_out_plan, train
from medssl.train.checkpoint import load_checkpoint
from medssl.train.encoder_checkpoint import load_encoder_weights

KNEES = """
title: Knees
modality: CR
channels: [radiograph]
root: knees
layout: {kind: radiographs, classes: [none, some]}
simulated: true
licence: CC0
citation: none
"""

NETWORK = """
network:
  name: slice_unet
  decoder_width: 2
  slice_encoder: {name: conv, width: 4, levels: 2}
  slice_transformer: {width: 8, layers: 1, heads: 2, points: 2, hidden: 8}
"""

JOINT = f"""
title: Both
data: [knees, balls]
exclude: [balls]
{NETWORK}
method: {{name: joint2d3d, preset: small, warm_up: 0.5}}
train:
  steps: 4
  joint: {{images: 3, volumes: 3, slices: 6, side: 16}}
  validate_every: 4
  device: cpu
probe: {{patients: 1, pictures: 1}}
"""


@pytest.fixture
def both(balls: Path) -> Path:
    """Working directory with balls, ten radiographs and pipelines for them."""
    folder = balls / "knees"
    folder.mkdir()
    rows, rng = ["file,grade,split"], np.random.default_rng(0)
    for number in range(10):
        pixels = rng.integers(0, 255, (20, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"knee{number}.png")
        rows.append(f"knee{number}.png,,{'train' if number < 7 else 'test'}")
    (folder / "labels.csv").write_text("\n".join(rows))
    root = (balls / "data") if (balls / "data").is_dir() else balls
    if root != balls:
        folder.rename(root / "knees")
    (balls / "data_specs" / "knees.yaml").write_text(KNEES)
    (balls / "pipelines" / "both.yaml").write_text(JOINT)
    return balls


def test_images_and_volumes_give_one_encoder_for_grading_and_segmentation(both):
    plan = make_plan(load_config("both"))
    ids: dict[str, set[str]] = {}
    for spec, cases in (*plan.cohort.train, *plan.cohort.probed):
        ids.setdefault(spec.name, set()).update(case.id for case in cases)
    assert ids["knees"] == {f"knee{n}" for n in range(7)}, "test images are never learnt from"
    assert len(ids["balls"]) == 5, "nor are test patients of the pipelines that exclude names"
    folder = carry_out_plan(plan, QuietReporter())["model"]

    weights, described = load_encoder_weights(folder)
    assert described.method["name"] == "joint2d3d"
    assert [card.name for card in described.data] == ["knees", "balls"]
    probes = json.loads((plan.last.folder / "probes.json").read_text())
    assert set(probes) == {"untrained", "trained"}
    assert set(probes["untrained"]) == {"retrieval", "order", "rank", "deviation"}
    nmi = {"images_source_nmi", "volumes_source_nmi"}
    assert set(probes["trained"]) == set(probes["untrained"]) | nmi
    assert probes["trained"]["volumes_source_nmi"] == 0, "there is one data set of volumes"
    assert probes["trained"]["images_source_nmi"] > 0
    pictures = sorted(path.name for path in (plan.last.folder / "pictures").iterdir())
    assert pictures == ["images_step_000004.png", "volumes_step_000004.png"]
    first = json.loads((plan.last.folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"loss/intra", "loss/mask", "loss/inter", "volumes_source_nmi"} <= set(first)

    grader = build_grader(
        GraderSettings(
            name="slices",
            slice_encoder=described.network.slice_encoder,
            weights=str(folder / "weights.safetensors"),
        ),
        views=1, grades=2, seed=0,
    )  # fmt: skip
    assert grader.report.share == 1

    (both / "pipelines" / "fine.yaml").write_text(f"data: balls\nmethod: tracoco\n{NETWORK}")
    start = load_start(load_config("fine", [f"pretrain={folder}"]), QuietReporter())
    assert start.card.method["name"] == "joint2d3d"
    assert set(start.encoder.weights) == set(weights)


DENSE = "monai:DenseNet121, init_features: 4, growth_rate: 4, block_config: [1, 1]"


def test_a_network_of_monai_encodes_slices_and_starts_segmentation_and_grading(both):
    for file in ("both", "fine"):
        written = JOINT if file == "both" else f"data: balls\n{NETWORK}"
        written = written.replace("{name: conv, width: 4, levels: 2}", f"{{name: {DENSE}}}")
        (both / "pipelines" / f"{file}.yaml").write_text(written)
    folder = carry_out_plan(make_plan(load_config("both")), QuietReporter())["model"]
    _, described = load_encoder_weights(folder)
    assert described.network.slice_encoder.name == "monai:DenseNet121"
    few = ["train.steps=2", "train.patch=[16,16,8]", "split.validation=0"]
    trained = train(load_config("fine", [f"pretrain={folder}", *few]), QuietReporter())["model"]
    predictor, checkpoint = load_checkpoint(trained)
    assert checkpoint.packages.keys() == {"monai"}
    with torch.inference_mode():
        assert predictor.eval()(torch.zeros(1, 1, 16, 16, 8)).shape == (1, 2, 16, 16, 8)
    slices = "{name: slices, slice_encoder: {name: " + DENSE + "}}"
    (both / "pipelines" / "grade.yaml").write_text(
        "data: knees\npreprocess: {radiograph: {field: null, side: 16}}\n"
        "evaluate: {disease_from: 1}\n"
    )
    start = load_config("grade", [f"pretrain={folder}", f"network={slices}"]).start
    assert start.folder == folder


def test_slices_that_a_network_of_monai_cannot_take_are_told_before_data_are_read(both):
    deep = DENSE.replace("[1, 1]", "[1, 1, 1, 1, 1]")
    config = load_config("both", ["network.slice_encoder={name: " + deep + "}"])
    with pytest.raises(UsageError, match="cannot encode 16 x 16 pixels"):
        carry_out_plan(make_plan(config), QuietReporter())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["method=masked_image_modelling"],
            "learns from volumes; the data set knees holds radiographs.*joint2d3d",
        ),
        (["data=[balls]", "method=masked_image_modelling"], "cannot pre-train network.name=slice"),
        (["network.name=vnet"], "cannot pre-train network.name=vnet.*set network.name=slice_unet"),
        (["train.joint.loose=[knees]"], "train.joint.loose names knees"),
        (["train.joint.sides=9"], r"unknown key 'train\.joint\.sides'"),
    ],
)
def test_mistakes_are_told_before_anything_is_read(both, overrides, message):
    with pytest.raises(UsageError, match=message):
        load_config("both", overrides)


def test_volumes_alone_may_serve_as_loose_slices_too(both):
    overrides = ["data=[balls]", "train.joint.loose=[balls]", "train.steps=2", "probe.patients=0"]
    plan = make_plan(load_config("both", overrides))
    assert (carry_out_plan(plan, QuietReporter())["model"] / "weights.safetensors").is_file()
    assert not (plan.last.folder / "probes.json").exists()


@pytest.mark.parametrize("name", ["joint2d3d", "joint2d3d_paper"])
def test_the_shipped_pipelines_are_valid(name):
    config = load_config(name)
    assert config.pipeline.data == ("knee", "hippocampus", "left_atrium", "lgg_lesions")
    assert config.method.learns_from == "mixed"
