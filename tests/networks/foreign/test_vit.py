"""Transformers of other projects: which they are, what is asked for, what is refused."""

import json
from pathlib import Path

import pytest
import torch

from medssl.errors import DataError, UsageError
from medssl.networks.foreign.families import recognise
from medssl.networks.foreign.vit_names import as_dinov3, as_timm, with_registers_of_facebook
from medssl.networks.load_report import LoadReport
from medssl.networks.vision_transformer import VisionTransformer
from medssl.train.imported import rebuilt
from tests.networks.foreign.images import HALF, hf_vit, virchow2


def plain_vit(place: Path, width: int = 128, heads: int = 4, **beside: object) -> Path:
    """A transformer of the size of `vit_tiny`, as timm names it, with its config beside it."""
    torch.manual_seed(4)
    network = VisionTransformer(32, 16, width, 4, heads)
    torch.save(network.state_dict(), place / "vit.pth")
    if beside:
        (place / "config.json").write_text(json.dumps(beside))
        (place / "preprocessor_config.json").write_text(json.dumps(HALF))
    return place / "vit.pth"


def test_a_plain_transformer_of_a_usual_size_is_medssls_own(tmp_path):
    found = recognise(plain_vit(tmp_path, num_attention_heads=4, layer_norm_eps=1e-5))
    assert (found.family, found.network["name"], found.network["side"]) == ("vit", "vit_tiny", 32)
    assert found.network["epsilon"] == 1e-5
    assert found.network["mean"] == (0.5, 0.5, 0.5)
    image = torch.rand(1, 3, 32, 32)
    ours = rebuilt(tmp_path / "vit.pth").network
    torch.manual_seed(4)
    same = VisionTransformer(32, 16, 128, 4, 4, epsilon=1e-5).eval()
    torch.testing.assert_close(ours(image), same((image - 0.5) / 0.5))


def test_what_a_file_does_not_say_is_asked_for(tmp_path):
    with pytest.raises(DataError, match="no family that medssl knows"):
        recognise(plain_vit(tmp_path))
    with pytest.raises(DataError, match=r"is no phikon; its width, depth, patch.*\[128, 4, 16, 0"):
        recognise(plain_vit(tmp_path), "phikon")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 4}))
    with pytest.raises(UsageError, match="does not say how its images were normalised"):
        recognise(tmp_path / "vit.pth")


def test_models_of_one_size_are_told_apart_by_the_user(tmp_path):
    """DINO's and Kaiko's differ in how images are normalised alone."""
    network = VisionTransformer(224, 16, 384, 12, 6)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match="say it: --family dino or kaiko"):
        recognise(tmp_path / "w.pth")
    assert recognise(tmp_path / "w.pth", "kaiko").network["mean"] == (0.5, 0.5, 0.5)
    assert recognise(tmp_path / "w.pth", "dino").network["mean"] == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blocks.0.attn.q_norm.weight", "normalised queries"),
        ("norm_pre.weight", "a norm before its blocks"),
        ("fc_norm.weight", "a norm of its mean token"),
    ],
)
def test_other_kinds_of_transformers_are_refused(tmp_path, name, message):
    path = plain_vit(tmp_path, num_attention_heads=4)
    torch.save(torch.load(path, weights_only=True) | {name: torch.ones(128)}, path)
    with pytest.raises(DataError, match=message):
        recognise(path)


def test_a_file_without_positions_is_refused(tmp_path):
    path = plain_vit(tmp_path, num_attention_heads=4)
    plain = torch.load(path, weights_only=True)
    del plain["pos_embed"]
    torch.save(plain, path)
    with pytest.raises(DataError, match="lacks the positions of its patches"):
        recognise(path)


def test_another_activation_is_refused(tmp_path):
    path = plain_vit(tmp_path, num_attention_heads=4, hidden_act="quick_gelu")
    with pytest.raises(DataError, match=r"another activation.*quick_gelu"):
        recognise(path)


def test_a_tensor_too_many_is_refused(tmp_path):
    path = plain_vit(tmp_path, num_attention_heads=4)
    torch.save(torch.load(path, weights_only=True) | {"blocks.1.more": torch.ones(2)}, path)
    with pytest.raises(DataError, match=r"no place for: backbone\.blocks\.1\.more"):
        rebuilt(path)


def test_registers_of_facebook_have_no_positions():
    """The class token's position goes to the token itself, as in timm."""
    found = with_registers_of_facebook(
        {
            "cls_token": torch.full((1, 1, 2), 3.0),
            "pos_embed": torch.arange(10.0).view(1, 5, 2),
            "reg_token": torch.ones(1, 4, 2),
        }
    )
    assert found["cls_token"].flatten().tolist() == [3.0, 4.0]
    assert found["pos_embed"].shape == (1, 4, 2)
    assert found["pos_embed"].flatten().tolist() == [2, 3, 4, 5, 6, 7, 8, 9]


def test_queries_keys_and_values_are_stacked_in_this_order():
    start = "encoder.layer.0.attention.attention"
    parts = {"value": 3.0, "query": 1.0, "key": 2.0}
    found = as_timm({f"{start}.{k}.weight": torch.full((1, 1), v) for k, v in parts.items()})
    assert found["blocks.0.attn.qkv.weight"].flatten().tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="it holds query alone"):
        as_timm({f"{start}.query.weight": torch.ones(1, 1)})


def test_the_masked_bias_of_dinov3s_keys_counts_as_0():
    found = as_dinov3({"blocks.0.attn.qkv.bias": torch.tensor([1.0, float("nan"), 3.0])})
    assert {name: one.tolist() for name, one in found.items()} == {
        "blocks.0.attn.q_bias": [1.0],
        "blocks.0.attn.v_bias": [3.0],
    }


@torch.no_grad()
def test_every_tensor_of_a_file_has_an_effect(tmp_path):
    """Nothing is dropped: each of them, changed, changes the features."""
    case = virchow2(tmp_path)
    network = rebuilt(case.path, case.family).network
    before = network.backbone(case.image)
    for name, value in network.state_dict().items():
        value.add_(0.5 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
        assert not torch.allclose(network.backbone(case.image), before, atol=1e-4), name
        before = network.backbone(case.image)


def test_all_of_a_file_is_reported(tmp_path):
    report: LoadReport = rebuilt(hf_vit(tmp_path).path).report
    assert str(report).startswith("100.0% of the parameters matched (54 tensors), 0 missing")
