"""The networks of images that tile encoders and graders are made of, beside our own transformers.

Each maps images [B, C, H, W] to features [B, E], and has E as `width`.

Legend: B images, C channels, H W pixels, E features, N patches.
"""

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.functional import relu

from medssl.errors import UsageError
from medssl.networks.resnet import ResNet18
from medssl.networks.resnet50 import ResNet50
from medssl.networks.vision_transformer import pooled_tokens

INSTALL = (
    "install it with `pip install 'medssl[encoders]'`, and torchvision from the same index as torch"
)


class PooledResNet50(ResNet50):
    """The mean of the last map of torchvision's ResNet-50, [B, 2048]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, nn.BatchNorm2d)
        self.width = self.widths[-1]

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W] to features [B, 2048]."""
        return self.maps(image)[-1].mean((2, 3))


class DenseNet(nn.Module):
    """DenseNet121, of which MONAI's is the same function as torchvision's, [B, 1024].

    The last map is that after the last ReLU, whose mean the classifier is given.
    """

    width = 1024

    def __init__(self, channels: int) -> None:
        from monai.networks.nets import DenseNet121

        super().__init__()
        network = DenseNet121(spatial_dims=2, in_channels=channels, out_channels=1)
        self.features = network.features

    def maps(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W] to the last map [B, 1024, H / 32, W / 32]."""
        return relu(self.features(image))

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W] to features [B, 1024]."""
        return self.maps(image).mean((2, 3))


class TimmEncoder(nn.Module):
    """Any encoder of timm, without its classifier.

    Args:
        name, arguments: of timm.create_model; `mlp_layer` is given by its name.
        pooling: of a transformer's tokens, see `pooled_tokens`; others are pooled by timm.

    Raises:
        UsageError: timm is not installed or cannot be used, has no such model, or refuses the
            arguments.
    """

    def __init__(
        self, name: str, arguments: Mapping[str, Any], channels: int, pooling: str
    ) -> None:
        super().__init__()
        timm, given = _timm(), dict(arguments)
        if not timm.is_model(name):
            near = timm.list_models(f"*{name[:12]}*")[:3]
            raise UsageError(
                f"timm {timm.__version__} has no model {name}",
                do=f"choose e.g. {', '.join(near)}" if near else "see timm.list_models()",
            )
        if "mlp_layer" in given:
            given["mlp_layer"] = getattr(timm.layers, str(given["mlp_layer"]), None)
        try:
            self.model = timm.create_model(name, num_classes=0, in_chans=channels, **given)
        except Exception as error:  # whatever a model refuses its arguments with
            raise UsageError(
                f"timm's {name} cannot be built with its arguments",
                f"{type(error).__name__}: {' '.join(str(error).split())}",
                "give others under encoder.arguments",
            ) from error
        self.pooling = pooling
        self.before = int(getattr(self.model, "num_prefix_tokens", 0))
        self.tokens_width = int(self.model.num_features)
        self.width = 2 * self.tokens_width if pooling == "cls_mean" else self.tokens_width

    @property
    def of_tokens(self) -> bool:
        """Whether it is a transformer with a class token."""
        return self.before > 0

    def maps(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W] to the last map [B, E, h, w]: of a transformer, its patch tokens."""
        found: Tensor = self.model.forward_features(image)
        if not self.of_tokens:
            return found.movedim(-1, 1) if found.shape[1] != self.tokens_width else found
        patch = self.model.patch_embed.patch_size
        rows, columns = image.shape[2] // patch[0], image.shape[3] // patch[1]
        patches = found[:, self.before :].transpose(1, 2)
        return patches.reshape(len(found), -1, rows, columns)

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W] to features [B, E]."""
        tokens: Tensor = self.model.forward_features(image)
        if self.of_tokens:
            return pooled_tokens(tokens, self.before, self.pooling)
        pooled: Tensor = self.model.forward_head(tokens, pre_logits=True)
        return pooled

    def set_drop_path(self, rate: float) -> None:
        """Leave out branches while training: of the first block never, of the last with `rate`."""
        from timm.layers import DropPath

        blocks = list(getattr(self.model, "blocks", ()))
        for index, block in enumerate(blocks):
            for branch in ("drop_path1", "drop_path2"):
                if hasattr(block, branch):
                    setattr(block, branch, DropPath(rate * index / max(1, len(blocks) - 1)))


def _timm() -> Any:
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            "this encoder is one of timm, which cannot be imported", str(error), INSTALL
        ) from error
    return timm


def convolutions(name: str, channels: int) -> ResNet18 | PooledResNet50 | DenseNet:
    """A network of convolutions by its name."""
    if name == "resnet50":
        return PooledResNet50(channels)
    if name == "densenet121":
        return DenseNet(channels)
    norm = nn.BatchNorm2d if name == "resnet18" else nn.InstanceNorm2d
    return ResNet18(cast("Any", norm), channels)
