"""Settings of the networks; free of torch so that a wrong key is refused at once."""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from medssl.networks.slice_settings import SliceEncoderSettings, SliceTransformerSettings
from medssl.section import Channels, Section

ENCODER_KEYS: dict[str, tuple[str, ...]] = {
    "vnet": ("width", "levels", "norm"),
    "unet3d": ("width", "levels", "norm"),
    "swin_fpn": ("width", "levels", "embed_stride", "depths", "heads", "window"),
    "conv_fpn": ("width", "levels"),
    "slice_unet": ("slice_encoder", "slice_transformer"),
}
"""What the weights of each network's encoder depend on; monai_unet has no encoder of its own."""


class NetworkSettings(Section):
    """Which network, and how large."""

    name: Literal["vnet", "unet3d", "monai_unet", "swin_fpn", "conv_fpn", "slice_unet"] = Field(
        default="vnet",
        description="V-Net, 3-D U-Net, MONAI's U-Net, encoders with a feature pyramid (Swin "
        "or convolutions), or 2-D slices with a transformer across them",
    )
    width: Channels = Field(
        default=16,
        description="channels of the first level; doubled per level; published for swin_fpn: 48",
    )
    levels: int = Field(default=5, ge=2, le=6, description="resolution levels, bottleneck included")
    norm: Literal["batch", "instance", "group"] = Field(
        default="batch",
        description="group: with 8 groups, for vnet and unet3d; the only one of swin_fpn, conv_fpn",
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description="V-Net: 0.5; 3-D U-Net: 0.3")
    residual_units: int = Field(default=2, ge=0, le=64, description="monai_unet only")
    decoder_width: Channels = Field(
        default=32,
        description="swin_fpn and conv_fpn; slice_unet: of the finest level, doubled per level",
    )
    decoder: Literal["fpn", "linear"] = Field(
        default="fpn",
        description="swin_fpn and conv_fpn: linear is one linear map of all levels' features; with "
        "frozen it tells what the encoder knows",
    )
    frozen: bool = Field(default=False, description="the encoder does not learn")
    use: Literal["both", "invariant", "specific"] = Field(
        default="both",
        description="swin_fpn and conv_fpn: which channels of an encoder that modality_invariant "
        "divided the decoder sees; the coarsest level is always whole",
    )
    embed_stride: int = Field(
        default=2, ge=1, description="swin_fpn only: side of an embedded cell in voxels"
    )
    depths: tuple[int, ...] = Field(
        default=(2, 2, 6, 2),
        description="swin_fpn only: attention blocks; a stage for every level but the first",
    )
    heads: tuple[int, ...] = Field(
        default=(3, 6, 12, 24), description="swin_fpn only: heads of each stage"
    )
    window: int = Field(default=7, ge=1, description="swin_fpn only: side of a window in cells")
    drop_path: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="swin_fpn only: chance to skip the last attention block in training, rising "
        "linearly from 0 at the first; published for alice: 0.2",
    )
    checkpointing: bool = Field(
        default=False,
        description="swin_fpn only: true computes activations again rather than keep them, which "
        "saves memory and costs about a third more time",
    )

    slice_encoder: SliceEncoderSettings = Field(
        default=SliceEncoderSettings(), description="slice_unet only: the network of a slice"
    )
    slice_transformer: SliceTransformerSettings = Field(
        default=SliceTransformerSettings(), description="slice_unet only: what joins the slices"
    )
    film: bool = Field(
        default=True,
        description="slice_unet only: what the transformer says of a slice scales and shifts its "
        "deepest features; false: slices do not know of each other",
    )
    neighbours: int = Field(
        default=0,
        ge=0,
        description="slice_unet only: slices to each side that come with each (2.5-D)",
    )
    slice_spacing: float = Field(
        default=1.0, gt=0, description="slice_unet only: mm between slices, for their places"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.name == "monai_unet" and self.norm == "group":
            raise ValueError("norm=group is not offered by monai_unet: choose batch or instance")
        if self.decoder == "linear" and self.name not in {"swin_fpn", "conv_fpn"}:
            raise ValueError(f"{self.name} has no linear decoder: choose swin_fpn or conv_fpn")
        if self.name == "swin_fpn":
            self._check_swin()
        return self

    def _check_swin(self) -> None:
        stages = self.levels - 1
        if stages > min(4, len(self.depths), len(self.heads)):
            raise ValueError(
                f"swin_fpn with levels={self.levels} needs {stages} depths and heads, "
                "and has 5 levels at most"
            )
        for level, heads in enumerate(self.heads[:stages]):
            if heads < 1 or self.width * 2**level % heads:
                raise ValueError(
                    f"{self.width * 2**level} channels of stage {level + 1} cannot be divided "
                    f"among {heads} heads"
                )

    @property
    def side_multiple(self) -> int:
        """Patch sides must be a multiple of this many voxels, so that every level halves exactly.

        swin_fpn halves from a grid of cells that is coarser than the image already: with cells of 2
        voxels and five levels 2 * 2^4 = 32. Its transformer would pad odd grids by itself, but then
        its maps would no longer lie over each other. slice_unet takes sides of any length.
        """
        if self.name == "slice_unet":
            return 1
        finest = self.embed_stride if self.name == "swin_fpn" else 1
        return finest << (self.levels - 1)

    def encoder(self) -> dict[str, Any] | None:
        """What an encoder's weights depend on, by key; None where there is no encoder.

        Two networks with equal answers can hand their encoders to each other.
        """
        if self.name not in ENCODER_KEYS:
            return None
        kept: dict[str, Any] = {"name": self.name}
        for key in ENCODER_KEYS[self.name]:
            value = getattr(self, key)
            if isinstance(value, tuple):
                value = list(value[: self.levels - 1])
            kept[key] = value.model_dump() if isinstance(value, BaseModel) else value
        return kept
