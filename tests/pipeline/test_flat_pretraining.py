"""Pre-training on 2-D images, and segmentation that starts from it, through the commands."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medssl.errors import DataError, UsageError
from medssl.networks.settings import NetworkSettings
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.train.description import WEIGHTS
from medssl.train.encoder_checkpoint import read_encoder
from tests.pipeline.conftest import DISCS, write_grey
from tests.train.volume_encoder import write_encoder

COLOURS = """
title: Dots in colour
modality: ultrasound
channels: [red, green, blue]
labels: [{value: 1, name: dot}]
root: dots
layout:
  kind: glob
  images: {red: "images/{case}.png", green: "images/{case}.png", blue: "images/{case}.png"}
  label: "masks/{case}.png"
licence: CC0
citation: none
"""

NETWORK = "{name: vnet, width: 4, levels: 2, norm: batch, dropout: 0}"

ENCODER = f"""
title: Encoder of dots
data: dots
preprocess: radiograph
network: {NETWORK}
method: {{name: masked_image_modelling, masking: {{cell: 4}}, decoder_width: 4}}
train: {{steps: 4, patch: [16, 16], batch_pairs: 2, batch_scans: 2, validate_every: 2, device: cpu}}
probe: {{patients: 2, windows: 2, pictures: 1}}
"""

MASKS = f"""
title: Dots
data: dots
split: {{labels: 2, validation: 0, test: 2}}
preprocess: radiograph
network: {NETWORK}
method: supervised
train: {{steps: 2, patch: [16, 16], device: cpu}}
evaluate: {{bootstrap: 100, overlays: 0}}
"""


@pytest.fixture
def dots(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven pictures of a dot, grey and in colour, a pipeline of an encoder and one of masks."""
    monkeypatch.setenv("MEDSSL_DATA", str(directory / "data"))
    texts = {
        "data_specs/dots": DISCS.replace("disc", "dot").replace("Disc", "Dot"),
        "data_specs/colours": COLOURS, "pipelines/encoder": ENCODER, "pipelines/masks": MASKS,
    }  # fmt: skip
    for name, text in texts.items():
        path = directory / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    write_grey(directory / "data" / "dots", 7)
    return directory


def test_an_encoder_of_pictures_is_learnt_probed_and_fine_tuned(dots, medssl):
    code, said, _ = medssl("pretrain", "encoder")
    assert code == 0
    model = next(Path("runs").rglob("checkpoint/last"))
    found = read_encoder(model)
    assert found.network.is_flat
    assert found.patch == (16, 16, 1)
    assert "probes of patients kept out of training:" in said
    assert "masked error" in said
    weights = load_file(model / WEIGHTS)
    assert {one.ndim for one in weights.values() if one.ndim > 1} == {4}

    frozen = ["pretrain=encoder", "network.frozen=true", "evaluate.bootstrap=100"]
    assert medssl("run", "masks", *frozen)[0] == 0
    # The run pre-trains an encoder that sees no patient of its test.
    models = [one for one in Path("runs").rglob("checkpoint/last") if "encoder" in str(one)]
    assert len(models) == 2
    other = next(one for one in models if one != model)
    done = run(load_config("masks", frozen), QuietReporter())
    assert len(list(done["masks"].glob("*.png"))) == 2
    kept = load_file(done["model"] / WEIGHTS)
    for key, value in load_file(other / WEIGHTS).items():
        if "running" not in key and "num_batches" not in key:
            assert torch.equal(kept[f"members.0.network.encoder.{key}"], value), key


@pytest.mark.parametrize(
    "method",
    [
        "{name: modality_invariant, arm: cl, projector: {hidden: 8, outputs: 8}, decoder_width: 2}",
        "{name: gmml, corruption: {align: 4}, decoder_width: 2}",
        "{name: barlow_twins, hidden: 8, outputs: 8}",
    ],
)
def test_pictures_of_one_channel_are_learnt_from_by_other_methods(dots, method):
    model = run(load_config("encoder", [f"method={method}", "train.steps=2"]), QuietReporter())
    assert read_encoder(model["model"]).network.is_flat


@pytest.mark.parametrize("method", ["alice", "anatomical_embedding", "joint2d3d"])
def test_methods_of_volumes_name_those_of_pictures(dots, method):
    words = rf"method={method} does not learn from 2-D images; .*choose one of: .*gmml, .*whitening"
    given = [f"method={method}"]
    given += ["network.name=slice_unet", "train.patch=[16, 16, 16]"] * (method == "joint2d3d")
    with pytest.raises(UsageError, match=words):
        run(load_config("encoder", given), QuietReporter())
    assert not Path("runs").exists()


def test_partners_of_the_same_anatomy_are_looked_for_in_volumes(dots):
    with pytest.raises(UsageError, match=r"volumes alone.* method\.corruption\.alien_source=batch"):
        load_config("encoder", ["method={name: gmml, corruption: {alien_source: matched}}"])


def test_what_cannot_be_learnt_from_says_so(dots):
    with pytest.raises(UsageError, match=r"pictures, and .* set train\.patch=\[16, 16\]"):
        run(load_config("encoder", ["train.patch=[16, 16, 16]"]), QuietReporter())
    with pytest.raises(UsageError, match="colours are in colour"):
        run(load_config("encoder", ["data=colours"]), QuietReporter())
    with pytest.raises(UsageError, match="monai_unet has no encoder of its own"):
        load_config("encoder", ["network={name: monai_unet, width: 4, levels: 2}"])
    with pytest.raises(UsageError, match="conv_fpn has no 2-D form"):
        load_config("encoder", ["network={name: conv_fpn, width: 4, levels: 2}"])
    with pytest.raises(UsageError, match="takes an encoder that learnt from tiles"):
        load_config("encoder", ["network=image_fpn", "train.patch=[64, 64]"])
    with pytest.raises(UsageError, match=r"masking\.cell=3 .* choose one of 1, 2, 4, 8"):
        load_config("encoder", ["method={name: masked_image_modelling, masking: {cell: 3}}"])
    with pytest.raises(UsageError, match=r"choose network\.name=vnet with network\.norm=group"):
        load_config("encoder", ["method={name: vicreg, rows: scans}", "network.norm=instance"])
    with pytest.raises(DataError, match="contrastive learning needs pairs"):
        run(
            load_config("encoder", ["method={name: modality_invariant, arm: mcl}"]), QuietReporter()
        )


@pytest.mark.parametrize("name", ["masks", "encoder"])
def test_an_encoder_of_other_dimensions_is_refused(dots, name):
    boxes = NetworkSettings(name="vnet", width=4, levels=2, norm="batch", dropout=0)
    given = read_encoder(write_encoder(dots / "flat", boxes.sized((16, 16, 1)))).network
    of_boxes = load_config(name, ["train.patch=[16, 16, 16]"])
    with pytest.raises(
        UsageError, match=r"it encodes 2-D images, .* for volumes; set train\.patch"
    ):
        of_boxes.must_fit(given, "the encoder")
    volumes = write_encoder(dots / "boxes", boxes)
    with pytest.raises(
        UsageError, match=r"it encodes volumes, .* for 2-D images; set train\.patch"
    ):
        run(load_config(name, [f"pretrain={volumes}"]), QuietReporter())
