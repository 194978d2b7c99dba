"""Encoders of images of other projects: small ones, with random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.networks.foreign.originals import Original, draw, filled, original, saved

HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def beside(place: Path, **said: Any) -> None:
    (place / "config.json").write_text(json.dumps(said))
    (place / "preprocessor_config.json").write_text(json.dumps(HALF))


def timm_vit(**more: Any) -> nn.Module:
    timm = original("timm")
    torch.manual_seed(0)
    given = {"img_size": 56, "patch_size": 14, "embed_dim": 64, "depth": 2, "num_heads": 4}
    return filled(timm.create_model("vit_base_patch16_224", num_classes=0, **{**given, **more}))


def _case(path: Path, image: Tensor, features: Any) -> Original:
    """Images are given as the network reads them, past our scaling, which the original has not."""
    return Original(path, None, image, features, lambda ours: lambda x: [ours.backbone(x)])


def _timm_case(place: Path, network: Any, mean: bool = False, **more: Any) -> Original:
    beside(place, model_args={"num_heads": 4}, **more)
    path = place / "model.safetensors"
    save_file(network.state_dict(), path)

    def features(image: Tensor) -> list[Tensor]:
        return [network.forward_features(image)[:, 0]]

    return _case(path, draw(2, 3, 56, 56), features)


def uni(place: Path) -> Original:
    """timm's names with LayerScale."""
    return _timm_case(place, timm_vit(init_values=0.1))


def uni2(place: Path) -> Original:
    """LayerScale, SwiGLU with SiLU, eight registers without positions."""
    layers = original("timm").layers
    return _timm_case(
        place,
        timm_vit(
            init_values=0.1, mlp_layer=layers.SwiGLUPacked, act_layer=nn.SiLU, reg_tokens=8,
            no_embed_class=True, mlp_ratio=5.5,
        ),
    )  # fmt: skip


def virchow2(place: Path) -> Original:
    """Four registers with positions of their own."""
    layers = original("timm").layers
    network = timm_vit(
        init_values=0.1, mlp_layer=layers.SwiGLUPacked, act_layer=nn.SiLU, reg_tokens=4,
        mlp_ratio=5.25,
    )  # fmt: skip
    return _timm_case(place, network)


def dino(place: Path) -> Original:
    """DINO's training checkpoint of a plain transformer; medssl's own takes it."""
    timm = original("timm")
    torch.manual_seed(0)
    network = filled(timm.create_model("vit_small_patch16_224", num_classes=0))
    named = {f"module.backbone.{k}": v for k, v in network.state_dict().items()}
    head = {"module.head.last_layer.weight_g": torch.ones(3, 1)}
    path = saved(place / "checkpoint.pth", {"teacher": named | head, "epoch": 1})
    return Original(
        path, "dino", draw(1, 3, 224, 224), lambda x: [network(x)],
        lambda ours: lambda x: [ours.backbone(x)],
    )  # fmt: skip


def _hf(place: Path, network: nn.Module, side: int, **said: Any) -> Original:
    filled(network)
    network.save_pretrained(place)
    (place / "preprocessor_config.json").write_text(json.dumps(HALF))

    def features(image: Tensor) -> list[Tensor]:
        return [network(image).last_hidden_state[:, 0]]

    return _case(place / "model.safetensors", draw(2, 3, side, side), features)


_SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}


def hf_vit(place: Path) -> Original:
    """Phikon's form, with the size and epsilon that its config says; medssl's own takes it."""
    kind = original("transformers.models.vit.modeling_vit")
    config = original("transformers").ViTConfig(
        hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
        image_size=64, patch_size=16, layer_norm_eps=1e-12,
    )  # fmt: skip
    torch.manual_seed(0)
    return _hf(place, kind.ViTModel(config, add_pooling_layer=True), 64)


def hf_dinov2(place: Path) -> Original:
    """RAD-DINO's and Phikon-v2's form."""
    kind = original("transformers.models.dinov2.modeling_dinov2")
    torch.manual_seed(0)
    return _hf(place, kind.Dinov2Model(original("transformers").Dinov2Config(**_SMALL)), 56)


def hf_dinov2_gated(place: Path) -> Original:
    """DINOv2 giant's form."""
    kind = original("transformers.models.dinov2.modeling_dinov2")
    config = original("transformers").Dinov2Config(**_SMALL, use_swiglu_ffn=True)
    torch.manual_seed(0)
    return _hf(place, kind.Dinov2Model(config), 56)


def hf_dinov2_registers(place: Path) -> Original:
    name = "transformers.models.dinov2_with_registers.modeling_dinov2_with_registers"
    kind = original(name)
    config = original("transformers").Dinov2WithRegistersConfig(**_SMALL, num_register_tokens=4)
    torch.manual_seed(0)
    return _hf(place, kind.Dinov2WithRegistersModel(config), 56)


def _dinov3(place: Path, gated: bool) -> Original:
    kind = original("transformers.models.dinov3_vit.modeling_dinov3_vit")
    config = original("transformers").DINOv3ViTConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        image_size=64, num_register_tokens=4, use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
    )  # fmt: skip
    torch.manual_seed(0)
    return _hf(place, kind.DINOv3ViTModel(config), 64)


def hf_dinov3(place: Path) -> Original:
    """Rotary positions, registers, no bias of keys."""
    return _dinov3(place, False)


def hf_dinov3_gated(place: Path) -> Original:
    """DINOv3 S+'s and H+'s form."""
    return _dinov3(place, True)


def xrv(place: Path) -> Original:
    """TorchXRayVision's DenseNet121 of one channel, as a state dict."""
    kind = original("torchxrayvision.models")
    torch.manual_seed(0)
    network = filled(kind.DenseNet(num_classes=18))
    path = saved(place / "densenet.pt", network.state_dict())
    return _case(path, draw(1, 1, 224, 224), lambda x: [network.features2(x)])


def _resnet(place: Path, name: str) -> Original:
    timm = original("timm")
    torch.manual_seed(0)
    network = filled(timm.create_model(name))
    return _case(
        saved(place / "w.pth", network.state_dict()),
        draw(1, 3, 96, 96),
        lambda x: [network.forward_head(network.forward_features(x), pre_logits=True)],
    )


def resnet18(place: Path) -> Original:
    """torchvision's names, of timm's class."""
    return _resnet(place, "resnet18")


def resnet50(place: Path) -> Original:
    return _resnet(place, "resnet50")


CASES = {
    "timm ViT with LayerScale (UNI)": uni,
    "timm ViT, SwiGLU, 8 registers (UNI2-h)": uni2,
    "timm ViT, registers with positions (Virchow2)": virchow2,
    "DINO ViT-S/16": dino,
    "Hugging Face ViT (Phikon)": hf_vit,
    "Hugging Face DINOv2 (RAD-DINO, Phikon-v2)": hf_dinov2,
    "Hugging Face DINOv2, SwiGLU": hf_dinov2_gated,
    "Hugging Face DINOv2 with registers": hf_dinov2_registers,
    "Hugging Face DINOv3": hf_dinov3,
    "Hugging Face DINOv3, SwiGLU": hf_dinov3_gated,
    "TorchXRayVision DenseNet121": xrv,
    "ResNet18": resnet18,
    "ResNet50": resnet50,
}
