"""Sizes that a method or a network cannot take are refused as a pipeline is read, without data."""

from pathlib import Path

import pytest

from medssl.errors import UsageError
from medssl.pipeline.config import load_config

ENCODER = "hippocampus_encoder"


@pytest.fixture(autouse=True)
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but settings can be read."""
    monkeypatch.setenv("MEDSSL_DATA", str(tmp_path / "nowhere"))


def refusal(pipeline: str, *overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(pipeline, overrides)
    return str(caught.value)


def test_a_size_in_a_file_is_refused_with_the_file_and_one_beside_it_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("extends: hippocampus\ntrain: {patch: [3, 3, 3]}\n")
    assert "does not fit the network (pipeline mine.yaml); its sides" in refusal("mine.yaml")
    assert "does not fit the network; its sides" in refusal("hippocampus", "train.patch=[3,3,3]")


@pytest.mark.parametrize("name", ["vnet", "unet3d", "monai_unet"])
def test_an_instance_norm_needs_two_values_on_the_coarsest_level(name: str) -> None:
    given = [f"network={{name: {name}, norm: instance, levels: 3}}", "predict.stride=null"]
    said = refusal("hippocampus", *given, "train.patch=[4,4,4]")
    assert "train.patch=[4, 4, 4] is too small for network.norm=instance" in said
    assert "the nearest that does is train.patch=[4, 4, 8]" in said
    load_config("hippocampus", [*given, "train.patch=[4,4,8]"])


def test_a_batch_norm_needs_them_over_the_batch() -> None:
    small = ["method=supervised", "network={name: vnet, norm: batch, levels: 3}"]
    small += ["train.patch=[4,4,4]", "predict.stride=null"]
    said = refusal("hippocampus", *small, "train.batch_labelled=1")
    assert "is too small for network.norm=batch" in said
    load_config("hippocampus", [*small, "train.batch_labelled=2"])
    load_config("hippocampus", [*small, "train.batch_labelled=1", "network.norm=group"])


def test_slices_may_be_of_any_size_but_one_pixel_for_an_instance_norm() -> None:
    slices = ["network.norm=instance", "network.slice_encoder={name: conv, levels: 3}"]
    slices += ["predict.stride=null"]
    said = refusal("hippocampus_slices", *slices, "train.patch=[4,4,8]")
    assert "the nearest that does is train.patch=[5, 4, 8]" in said
    load_config("hippocampus_slices", [*slices, "train.patch=[5,4,8]"])


@pytest.mark.parametrize("method", ["masked_image_modelling", "modality_invariant"])
def test_masked_cubes_divide_the_window(method: str) -> None:
    network = "network={name: conv_fpn, levels: 3}"
    given = [f"method={method}", network, "train.patch=[24,24,24]"]
    said = refusal(ENCODER, *given, "method.masking.cell=7")
    assert "method.masking.cell=7 does not fit train.patch=[24, 24, 24]" in said
    assert said.endswith("choose one of 1, 2, 3, 4, 6, 8, 12")
    load_config(ENCODER, [*given, "method.masking.cell=6"])


def test_masked_cubes_consist_of_the_cells_that_the_encoder_embeds() -> None:
    given = ["network={name: swin_fpn, levels: 3, width: 12, embed_stride: 4}"]
    given += ["method=masked_image_modelling", "train.patch=[32,32,32]", "method.masking.cell=2"]
    assert refusal(ENCODER, *given).endswith("choose one of 4, 8, 16")


def test_an_arm_without_masks_takes_any_window() -> None:
    given = ["network={name: conv_fpn, levels: 2}", "train.patch=[22,22,22]"]
    load_config(ENCODER, [*given, "method={name: modality_invariant, arm: mcl}"])
    assert "masking.cell" in refusal(ENCODER, *given, "method=modality_invariant")


def test_pretraining_wants_a_network_with_an_encoder() -> None:
    said = refusal(ENCODER, "network={name: monai_unet, norm: batch}")
    assert "network.name=monai_unet has no encoder of its own" in said
    frozen = refusal("hippocampus", "network={name: monai_unet, norm: batch, frozen: true}")
    assert "monai_unet has no encoder of its own: leave frozen out" in frozen


def test_only_data_with_two_contrasts_can_be_split() -> None:
    said = refusal(ENCODER, "method={name: modality_invariant, arm: mcl, preset: split}")
    assert "method.split.enabled=true needs two contrasts, and the data name 1" in said


def test_cells_of_alice_divide_the_window() -> None:
    said = refusal("hippocampus_alice", "method.masking.side=5")
    assert "method.masking.side=5 does not fit train.patch=" in said
    assert "choose one of " in said


def test_alice_wants_a_norm_that_leaves_means_apart() -> None:
    given = "network={name: vnet, norm: instance, levels: 3}"
    assert "an instance norm leaves little" in refusal("hippocampus_alice", given)
    said = refusal("hippocampus_alice", "network=monai:BasicUNet")
    assert "monai:BasicUNet ends its encoder in one, by network.norm" in said
    assert "set network.norm=batch" in said


def test_windows_of_the_embedding_that_alice_trains_first_hold_its_crops() -> None:
    size = "method.embedding.method.views.size"
    said = refusal("hippocampus_alice", "method.embedding.patch=[8,16,16]", f"{size}=null")
    assert "method.embedding.patch=[8, 16, 16] is too small for two crops" in said
    assert "the nearest is method.embedding.patch=[16, 16, 16]" in said
    inner = refusal("hippocampus_alice", f"{size}=[20,16,16]")
    assert "the nearest is method.embedding.method.views.size=[16, 16, 16]" in inner
    load_config("hippocampus_alice", ["method.embedding={checkpoint: there, patch: [8,16,16]}"])


def test_crops_of_an_embedding_lie_in_its_window() -> None:
    said = refusal(
        "hippocampus_embedding", "train.patch=[32,32,32]", "method.views.size=[40,32,32]"
    )
    assert "method.views.size=[40, 32, 32] does not fit train.patch=[32, 32, 32]" in said
    assert "the nearest is method.views.size=[32, 32, 32]" in said


def test_images_and_volumes_are_learnt_from_slice_by_slice() -> None:
    for key in ("film=false", "neighbours=1"):
        said = refusal("joint2d3d", f"network.{key}")
        assert "set network.film=true network.neighbours=0" in said
    assert "train.joint.volumes=0 leaves" in refusal("joint2d3d", "train.joint.volumes=0")
    said = refusal("joint2d3d", "train.joint.images=0", "method.slices=0")
    assert "nothing to cluster" in said


@pytest.mark.parametrize(
    ("encoder", "side", "nearest"), [("vit_tiny", 40, 32), ("resnet18_instance", 20, 33)]
)
@pytest.mark.parametrize("part", ["global_crops", "local_crops"])
def test_crops_of_tiles_are_such_as_the_encoder_takes(
    part: str, encoder: str, side: int, nearest: int
) -> None:
    both = ["method.global_crops.side=64", "method.local_crops.side=48"]
    given = [f"encoder={{name: {encoder}, side: 64, adapters: null}}", *both]
    load_config("slides_dino", given)
    said = refusal("slides_dino", *given, f"method.{part}.side={side}")
    assert f"{encoder} cannot take crops of method.{part}.side={side}" in said
    assert said.endswith(f"the nearest is method.{part}.side={nearest}")


def test_tiles_are_resized_to_a_side_that_the_encoder_takes() -> None:
    assert "the nearest is 48" in refusal("slides", "encoder={name: vit_tiny, side: 50}")


def test_heads_divide_the_width_of_the_encoders_features() -> None:
    said = refusal("slides", "encoder={name: vit_tiny}", "method={name: snuffy, heads: 3}")
    assert "method.heads=3 does not divide the features' width 128" in said
    assert "heads=3 does not divide embed_width=64" in refusal(
        "slides", "method={name: transmil, embed_width: 64, heads: 3}"
    )
    load_config("mil", ["method={name: snuffy, heads: 3}"])  # the width comes with the features


def test_radiographs_too_small_for_their_network_are_refused() -> None:
    assert "too small for the network siamese; set it to at least 17" in refusal(
        "knee", "preprocess.joint.side=16"
    )
