"""Weights files: matched by name, reported, refused when they are of another network."""

import random
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medssl.errors import DataError, UsageError
from medssl.networks.pretrained import load_pretrained
from medssl.networks.resnet import ResNet18
from medssl.networks.vision_transformer import VisionTransformer, add_adapters, resize_positions
from medssl.networks.weights_file import read_weights


def vit(seed: int = 0, side: int = 32, patch: int = 8) -> VisionTransformer:
    torch.manual_seed(seed)
    return VisionTransformer(side, patch, 16, 2, 2)


def equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def prefixed(network: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in network.state_dict().items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_plain_weights_is_loaded(tmp_path: Path, suffix: str):
    source, target, path = vit(0), vit(1), tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save(source.state_dict(), path)
    report = load_pretrained(target, path, 0.95)
    assert equal(source, target)
    assert (report.share, report.missing, report.misshapen, report.unexpected) == (1, (), (), ())
    assert set(report.matched) == set(source.state_dict())


def test_names_count_and_order_does_not(tmp_path: Path):
    source, target, path = vit(0), vit(1), tmp_path / "w.pth"
    torch.save(dict(reversed(source.state_dict().items())), path)
    load_pretrained(target, path, 0.95)
    assert equal(source, target)


def test_the_teacher_of_a_dino_checkpoint_is_taken(tmp_path: Path):
    student, teacher, target, path = vit(0), vit(1), vit(2), tmp_path / "w.pth"
    head = {"module.head.last_layer.weight_g": torch.ones(3, 1)}
    torch.save(
        {
            "student": prefixed(student, "module.backbone."),
            "teacher": prefixed(teacher, "module.backbone.") | head,
            "args": Namespace(arch="vit_small", lr=0.0005),
            "epoch": 100,
        },
        path,
    )
    report = load_pretrained(target, path, 0.95)
    assert equal(teacher, target)
    assert report.unexpected == ("head.last_layer.weight_g",)


def test_the_encoder_of_an_mae_checkpoint_is_taken(tmp_path: Path):
    source, target, path = vit(0), vit(1), tmp_path / "w.pth"
    torch.save({"model": source.state_dict() | {"mask_token": torch.zeros(1, 1, 8)}}, path)
    assert load_pretrained(target, path, 0.95).unexpected == ("mask_token",)
    assert equal(source, target)


def test_dsmils_numbered_layers_find_their_names(tmp_path: Path):
    """Its weights are of Sequential(conv1, norm, relu, pool, layer1, ..., layer4, pool)."""
    torch.manual_seed(0)
    source, path = ResNet18(), tmp_path / "w.pth"
    numbers = {"conv1": 0, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    numbered = {}
    for name, value in source.state_dict().items():
        layer, _, rest = name.partition(".")
        numbered[f"features.{numbers[layer]}.{rest}"] = value
    torch.save(numbered | {"l1.weight": torch.zeros(2, 2)}, path)
    target = ResNet18()
    assert load_pretrained(target, path, 0.95).unexpected == ("l1.weight",)
    assert equal(source, target)


def test_positions_of_another_image_size_are_interpolated(tmp_path: Path):
    source, target, path = vit(0, side=64), vit(1, side=32), tmp_path / "w.pth"
    torch.save(source.state_dict(), path)
    assert load_pretrained(target, path, 1.0).share == 1
    assert torch.equal(target.pos_embed, resize_positions(source.pos_embed, 4, 4))


def test_weights_without_adapters_leave_the_adapters_alone(tmp_path: Path):
    source, target, path = vit(0), vit(1), tmp_path / "w.pth"
    torch.save(source.state_dict(), path)
    add_adapters(target, 4, 10.0)
    down = target.layers[0].adapter.down.weight.clone()
    report = load_pretrained(target, path, 1.0)
    assert report.share == 1
    assert all(".adapter." in name for name in report.missing)
    assert torch.equal(target.layers[0].adapter.down.weight, down)
    assert not target.patch_embed.proj.weight.requires_grad


def test_trained_adapters_are_loaded(tmp_path: Path):
    source, target, path = vit(0), vit(1), tmp_path / "w.pth"
    for network in (source, target):
        add_adapters(network, 4, 10.0)
    nn.init.normal_(source.layers[1].adapter.up.weight)
    torch.save(source.state_dict(), path)
    load_pretrained(target, path, 1.0)
    assert equal(source, target)


def test_too_few_matches_are_refused_and_change_nothing(tmp_path: Path):
    """One of two blocks, with the patches' map and the positions: two thirds."""
    source, target, path = vit(0), vit(1), tmp_path / "w.pth"
    before = {name: value.clone() for name, value in target.state_dict().items()}
    half = {n: v for n, v in source.state_dict().items() if not n.startswith("blocks.1.")}
    torch.save(half, path)
    with pytest.raises(DataError, match=r"hold 67\.1% .* 95% are wanted.*blocks\.1\.norm1"):
        load_pretrained(target, path, 0.95)
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())
    report = load_pretrained(target, path, 0.5)
    assert report.share == sum(v.numel() for v in half.values()) / sum(
        v.numel() for v in before.values()
    )
    assert "missing" in str(report)


def test_a_tensor_of_another_shape_is_refused(tmp_path: Path):
    source, target, path = vit(0, patch=16), vit(1), tmp_path / "w.pth"
    torch.save(source.state_dict(), path)
    with pytest.raises(DataError, match=r"lack, or have in another shape, patch_embed\.proj\.w"):
        load_pretrained(target, path, 0.5)


def of_blocks(**shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Tensors that both blocks of another transformer hold besides ours."""
    return {
        f"blocks.{block}.{name.replace('__', '.')}": torch.full(shape, 0.4)
        for block in range(2)
        for name, shape in shapes.items()
    }


OTHERS = {
    "LayerScale": (of_blocks(ls1__gamma=(16,), ls2__gamma=(16,)), "LayerScale"),
    "LayerScale of facebook": (of_blocks(gamma_1=(16,), gamma_2=(16,)), "LayerScale"),
    "registers": ({"reg_token": torch.ones(1, 4, 16)}, "register tokens"),
    "DINOv2 registers": ({"register_tokens": torch.ones(1, 4, 16)}, "register tokens"),
    "DINOv3": (
        {"storage_tokens": torch.ones(1, 4, 16), "rope_embed.periods": torch.ones(4)},
        "DINOv3",
    ),
    "normalised queries": (of_blocks(attn__q_norm__weight=(8,)), "normalises queries"),
    "CLIP": ({"norm_pre.weight": torch.ones(16)}, "norm before its blocks"),
    "mean token": ({"fc_norm.weight": torch.ones(16)}, "norm of its mean token"),
    "SwiGLU": (of_blocks(mlp__w12__weight=(16, 16)), "SwiGLU"),
    "norm of patches": ({"patch_embed.norm.weight": torch.ones(16)}, "another network"),
}


@pytest.mark.parametrize(("more", "family"), OTHERS.values(), ids=OTHERS)
def test_what_a_file_has_no_place_for_is_not_dropped(
    tmp_path: Path, more: dict[str, torch.Tensor], family: str
):
    """All of the encoder is there, to 100 %; its features would still be others."""
    target, path = vit(1), tmp_path / "w.pth"
    before = {name: value.clone() for name, value in target.state_dict().items()}
    torch.save(vit(0).state_dict() | more, path)
    for matched in (0.95, 0.0):
        with pytest.raises(DataError, match=rf"has no place for: {next(iter(more))}") as caught:
            load_pretrained(target, path, matched)
        assert family in caught.value.why
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())


@pytest.mark.parametrize(
    "name",
    ["pos_embed", "cls_token", "norm.weight", "blocks.0.attn.qkv.bias", "patch_embed.proj.bias"],
)
def test_nothing_stays_random_beside_what_is_loaded(tmp_path: Path, name: str):
    plain = vit(0).state_dict()
    del plain[name]
    torch.save(plain, tmp_path / "w.pth")
    with pytest.raises(DataError, match=f"lack, or have in another shape, {name}"):
        load_pretrained(vit(1), tmp_path / "w.pth", 0.5)


def test_positions_that_cannot_be_resized_are_refused(tmp_path: Path):
    """Registers may have positions of their own: 1 + 4 + 16 of them."""
    plain = vit(0).state_dict() | {"pos_embed": torch.ones(1, 21, 16)}
    torch.save(plain, tmp_path / "w.pth")
    with pytest.raises(DataError, match="lack, or have in another shape, pos_embed"):
        load_pretrained(vit(1), tmp_path / "w.pth", 0.5)


def test_batch_norm_has_no_place_among_instance_norms(tmp_path: Path):
    """Torchvision's ResNet18: 102 tensors of its norms would be dropped."""
    torch.manual_seed(0)
    plain = dict(ResNet18().state_dict())
    for block in ("layer1.0", "layer4.1"):
        plain[f"{block}.bn1.weight"] = torch.ones(64)
        plain[f"{block}.bn1.running_mean"] = torch.zeros(64)
    torch.save(plain, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"layer1\.0\.bn1\.weight.*BatchNorm"):
        load_pretrained(ResNet18(), tmp_path / "w.pth", 0.95)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((48, 16), float("nan")), "not finite"),
        (torch.full((48, 16), float("inf")), "not finite"),
        (torch.zeros(48, 16), "nothing but zeros"),
        (torch.ones(48, 16, dtype=torch.int64), "another kind of number"),
    ],
)
def test_values_that_no_training_leaves_are_refused(
    tmp_path: Path, value: torch.Tensor, message: str
):
    name = "blocks.1.attn.qkv.weight"
    torch.save(vit(0).state_dict() | {name: value}, tmp_path / "w.pth")
    with pytest.raises(DataError, match=message) as caught:
        load_pretrained(vit(1), tmp_path / "w.pth", 0.95)
    assert name in str(caught.value)
    assert "w.pth" in str(caught.value)


def test_what_was_changed_to_fit_is_reported(tmp_path: Path):
    torch.save(vit(0, side=64).state_dict(), tmp_path / "w.pth")
    report = load_pretrained(vit(1), tmp_path / "w.pth", 1.0)
    assert str(report).endswith("adapted: positions of 8 x 8 patches resized to 4 x 4")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_damaged_file_is_named(tmp_path: Path, suffix: str):
    path = tmp_path / f"w{suffix}"
    plain = {"a": torch.ones(2, 3)}
    if suffix == ".pth":
        torch.save(plain, path)
    else:
        save_file(plain, path)
    whole, rng = path.read_bytes(), random.Random(0)
    broken = [whole[:length] for length in range(0, len(whole), 41)]
    for _ in range(100):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] = rng.randrange(256)
        broken.append(bytes(changed))
    outcomes = set()
    for content in broken:
        path.write_bytes(content)
        try:
            outcomes.add(bool(read_weights(path)))
        except DataError as error:
            outcomes.add(path.name in str(error))
    assert outcomes == {True}


def test_what_holds_no_weights_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="no weights file"):
        read_weights(tmp_path / "none.pth")
    for name in ("broken.pth", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(DataError, match="cannot be read"):
            read_weights(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(DataError, match="no named tensors"):
        read_weights(tmp_path / "empty.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(DataError, match="no named tensors"):
        read_weights(tmp_path / "list.pth")


class Harmful:
    """What unpickling would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_pickled_code_is_never_run(tmp_path: Path):
    mark = tmp_path / "it_ran"
    torch.save({"model": Harmful(mark)}, tmp_path / "w.pth")
    with pytest.raises(DataError, match="never unpickled"):
        read_weights(tmp_path / "w.pth")
    assert not mark.exists()
