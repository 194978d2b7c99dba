"""Settings of the tile encoders; free of torch so that a wrong key is refused at once."""

import json
import re
from abc import abstractmethod
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from medssl.checksum import sha256_of
from medssl.errors import UsageError
from medssl.networks.monai_grader_list import known_graders
from medssl.networks.monai_list import PREFIX
from medssl.section import Extent, Section, Width, digest


class TransformerSize(NamedTuple):
    """Size of a vision transformer; `patch` in pixels."""

    patch: int
    width: int
    depth: int
    heads: int


TRANSFORMERS = {
    "vit_tiny": TransformerSize(patch=16, width=128, depth=4, heads=4),
    "vit_small_16": TransformerSize(patch=16, width=384, depth=12, heads=6),
    "vit_small_8": TransformerSize(patch=8, width=384, depth=12, heads=6),
    "vit_base_16": TransformerSize(patch=16, width=768, depth=12, heads=12),
}
WIDTHS = {"resnet18_instance": 512, "resnet18": 512, "resnet50": 2048, "densenet121": 1024}
"""Features of the networks of convolutions."""

TIMM = "timm"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
RESNET_SMALLEST = 33
"""Smallest side in pixels: below, the last map has one pixel, which InstanceNorm cannot scale."""


class AdapterSettings(Section):
    """AdaptFormer adapters in every block; all other weights of the encoder are frozen."""

    bottleneck: Width = Field(default=32, ge=1, description="DINO: 32; MAE: 64")
    scale: float = Field(default=10.0, gt=0, description="DINO: 10; MAE: 1")


if TYPE_CHECKING:
    TileEncoderName = str
else:
    TileEncoderName = Literal[
        (*TRANSFORMERS, *WIDTHS, TIMM, *(f"{PREFIX}{name}" for name in known_graders()))
    ]
    """Known networks, so that messages and schemas list them; those of MONAI have settings of
    their own."""


class AnyEncoder(Section):
    """What is known of every network that turns an image into a feature vector."""

    name: str
    side: Extent = Field(default=224, ge=1, description="pixels; tiles are resized to it")
    normalise: Literal["none", "imagenet"] = Field(
        default="none", description="of the intensities, as the weights were trained"
    )
    mean: tuple[float, ...] | None = Field(
        default=None,
        exclude_if=lambda given: given is None,
        description="of each channel, in 0..1, in place of normalise",
    )
    std: tuple[float, ...] | None = Field(
        default=None,
        exclude_if=lambda given: given is None,
        description="of each channel, in 0..1, in place of normalise",
    )
    resize: Literal["bilinear", "bicubic"] = Field(
        default="bilinear",
        exclude_if=lambda given: given == "bilinear",
        description="how images of another side are resized",
    )
    weights: str | None = Field(
        default=None, description="file .safetensors, .pth or .pt; null: random from the seed"
    )
    matched: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the parameters that `weights` must hold; less excuses "
        "whole blocks at the end, never a part of one",
    )

    if TYPE_CHECKING:  # keys of some, and no keys of others

        @property
        def channels(self) -> int:
            """Of the images that it reads."""

        @property
        def adapters(self) -> AdapterSettings | None:
            """Those in its blocks, if any."""

    @property
    @abstractmethod
    def width(self) -> int | None:
        """Features of an image; None: it is known once the network is built."""

    @property
    @abstractmethod
    def patch(self) -> int | None:
        """Side of a transformer's patch in pixels; None: it is not known to be of patches."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """What sides the network takes, in words."""

    @property
    @abstractmethod
    def packages(self) -> dict[str, str]:
        """Packages beside medssl that it is of, with their versions."""

    @abstractmethod
    def fits(self, side: int) -> bool:
        """Whether the network can take images with sides of so many pixels."""

    @abstractmethod
    def nearest_side(self, side: int) -> int:
        """The side nearest to `side`, in pixels, that the network can take."""

    @property
    def values(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of each channel, in 0..1."""
        if self.mean is not None and self.std is not None:
            return self.mean, self.std
        plain = (0.0,) * self.channels, (1.0,) * self.channels
        return IMAGENET if self.normalise == "imagenet" else plain

    @model_validator(mode="after")
    def _has_values(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both mean and std, or neither")
        if self.mean is not None and self.normalise != "none":
            raise ValueError("mean and std stand in place of normalise: leave it out")
        if any(len(one) != self.channels for one in self.values):
            raise ValueError(f"mean and std have {self.channels} entries, one of each channel")
        if min(self.values[1]) <= 0:
            raise ValueError("std is above 0 in every channel")
        return self


class TileEncoderSettings(AnyEncoder):
    """What turns a tile into a feature vector."""

    name: TileEncoderName = Field(
        default="vit_tiny",
        description="vision transformers by size and pixels of a patch, ResNet18 with InstanceNorm "
        "(DSMIL), torchvision's ResNets and DenseNet121, timm:NAME, any encoder of the package "
        "timm, which is installed with `pip install 'medssl[encoders]'`, or monai:CLASS, a network "
        "of MONAI with its own arguments in place of model, arguments, channels, epsilon, adapters "
        "and pooling",
    )
    model: str | None = Field(
        default=None, exclude_if=lambda given: given is None, description="timm: name of the model"
    )
    arguments: dict[str, bool | int | float | str] = Field(
        default={},
        exclude_if=lambda given: not given,
        description="timm: of timm.create_model, beside its name",
    )
    channels: Literal[1, 3] = Field(
        default=3,
        exclude_if=lambda given: given == 3,
        description="of its images; 1: grey, the mean of the colours",
    )
    epsilon: float = Field(
        default=1e-6,
        gt=0,
        exclude_if=lambda given: given == 1e-6,
        description="of the norms of a transformer of medssl, as the weights were trained",
    )
    adapters: AdapterSettings | None = None
    pooling: Literal["cls", "mean", "token_mean", "cls_mean"] = Field(
        default="cls",
        description="of a transformer's tokens: the class token; the last norm of the mean patch "
        "token (MAE); the mean of the normed patch tokens; the class token and that mean, side by "
        "side (Virchow); networks of convolutions average their last map",
    )

    @model_validator(mode="before")
    @classmethod
    def _names_a_model(cls, given: Any) -> Any:
        plain = {"name": given} if isinstance(given, str) else given
        name = plain.get("name") if isinstance(plain, Mapping) else None
        if isinstance(name, str) and name.startswith(f"{TIMM}:"):
            return {**plain, "name": TIMM, "model": name.removeprefix(f"{TIMM}:")}
        return given

    @property
    def width(self) -> int | None:
        """Features of a tile; None: it is known once the model of timm is built."""
        size = TRANSFORMERS.get(self.name)
        found = WIDTHS.get(self.name) if size is None else size.width
        return 2 * found if found and size and self.pooling == "cls_mean" else found

    @property
    def patch(self) -> int | None:
        """Side of a transformer's patch in pixels; None: it is one of convolutions."""
        size = TRANSFORMERS.get(self.name)
        if size is not None:
            return size.patch
        if self.name != TIMM or not re.match("vit|deit|beit|eva", self.model or ""):
            return None
        named = re.search(r"patch(\d+)", self.model or "")
        told = self.arguments.get("patch_size", int(named[1]) if named else None)
        return told if isinstance(told, int) else None

    @property
    def packages(self) -> dict[str, str]:
        """timm, where the encoder is one of it."""
        if self.name != TIMM:
            return {}
        try:
            return {TIMM: version(TIMM)}
        except PackageNotFoundError:
            return {}  # the encoder says so when it is built

    def gives_way(self, given: Mapping[str, Any]) -> bool:
        """As `Section.gives_way`: networks of MONAI have other keys."""
        return str(given.get("name")).startswith(PREFIX)

    def fits(self, side: int) -> bool:
        """Whether the network can take images with sides of so many pixels."""
        return side >= RESNET_SMALLEST if self.patch is None else side % self.patch == 0

    def nearest_side(self, side: int) -> int:
        """The side nearest to `side`, in pixels, that the network can take."""
        if self.patch is None:
            return max(side, RESNET_SMALLEST)
        return max(1, round(side / self.patch)) * self.patch

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.fits(self.side):
            raise ValueError(
                f"{self.name} cannot take images of side={self.side}: {self.rule}, and the nearest "
                f"is {self.nearest_side(self.side)}"
            )
        if self.adapters is not None and self.name not in TRANSFORMERS:
            raise ValueError(f"{self.name} has no transformer blocks to put adapters in")
        if (self.name == TIMM) == (self.model is None) or (self.arguments and self.name != TIMM):
            raise ValueError("model and arguments are of timm's encoders: write name: timm:NAME")
        if self.name == TIMM and self.pooling == "mean":
            raise ValueError("pooling=mean is of medssl's transformers: choose token_mean")
        return self

    @property
    def rule(self) -> str:
        """What sides the network takes, in words."""
        if self.patch is None:
            return f"at least {RESNET_SMALLEST} are needed"
        return f"a multiple of {self.patch} is needed"


def must_be_tile_encoder(
    settings: AnyEncoder,
    trained: AnyEncoder,
    what: str,
    section: str = "encoder",
) -> None:
    """Refuse a pre-trained encoder of tiles that is another one than a pipeline's.

    Raises:
        UsageError: names the keys to set.
    """
    if type(settings) is not type(trained):
        plain = trained.model_dump(mode="json", exclude={"weights", "matched"})
        raise UsageError(
            f"{what} does not fit the pipeline's encoder",
            f"it is {trained.name}, and the pipeline has {section}.name={settings.name}",
            f"set '{section}={json.dumps(plain)}'",
        )
    both = settings, trained
    own, other = (one.model_dump(exclude={"weights", "matched"}) for one in both)
    keys = [
        f"{section}.{key}={value}"
        for key, value in other.items()
        if own.get(key, value) != value or (key not in own)
    ]
    more = [f"{section}.{key}=null" for key in own if key not in other]
    if keys or more:
        raise UsageError(
            f"{what} does not fit the pipeline's encoder", "", f"set {' '.join([*keys, *more])}"
        )


def encoder_hash(settings: AnyEncoder, seed: int) -> str:
    """8 hex characters of the encoder with its weights, wherever their file lies."""
    plain = settings.model_dump(mode="json", exclude={"weights"})
    if settings.name.startswith(PREFIX):  # its features are those of a version of MONAI
        plain["packages"] = settings.packages
    if settings.weights is None:
        return digest([plain, seed])
    return digest([plain, sha256_of(Path(settings.weights))])
