"""The networks of medssl before they are built: their settings and what depends on these.

Free of torch, so that a wrong key is refused at once.
"""

from collections.abc import Mapping
from math import ceil, prod
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from medssl.errors import UsageError
from medssl.networks.choice import Network, NetworkChoice, NetworkName, halvings
from medssl.networks.flat_settings import must_be_offered_flat
from medssl.networks.monai_list import PREFIX
from medssl.networks.monai_slice_settings import AnySliceEncoder
from medssl.networks.slice_settings import SliceEncoderSettings, SliceTransformerSettings
from medssl.registry import NETWORKS
from medssl.section import Channels, Count, Extent, Patch, check_patch

UNETS = ("plain_unet", "residual_unet")
OWN_KEYS = (*UNETS, "image_fpn", "primus")
"""Networks with keys of their own, e.g. those of `medssl.networks.unet_settings`."""


class NetworkSettings(NetworkChoice):
    """Which network, and how large."""

    name: NetworkName = Field(
        default="vnet",
        description="V-Net, 3-D U-Net, the U-Nets of nnU-Net (plain_unet, residual_unet), which "
        "take keys of their own, MONAI's U-Net, encoders with a feature pyramid (Swin "
        "or convolutions), 2-D slices with a transformer across them, nnssl's primus with keys of "
        "its own, one of another package, or monai:CLASS, which takes the arguments of that class "
        "of MONAI in place of the keys below",
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
    decoder: Literal["fpn", "linear", "neighbours", "skip"] = Field(
        default="fpn",
        description="fpn: of swin_fpn and conv_fpn, others have their own; linear: one linear map "
        "of the features of all levels; with frozen it tells what the encoder knows; neighbours: "
        "as the nearest labelled voxels in these features, with method=knn_segmentation; skip: on "
        "any encoder the decoder that method=alice trains and hands on",
    )
    frozen: bool = Field(default=False, description="the encoder does not learn")
    use: Literal["both", "invariant", "specific"] = Field(
        default="both",
        description="swin_fpn and conv_fpn: which channels of an encoder that modality_invariant "
        "divided the decoder sees; the coarsest level is always whole",
    )
    embed_stride: Extent = Field(
        default=2, ge=1, description="swin_fpn only: side of an embedded cell in voxels"
    )
    depths: tuple[Annotated[Count, Field(ge=1)], ...] = Field(
        default=(2, 2, 6, 2),
        description="swin_fpn only: attention blocks; a stage for every level but the first",
    )
    heads: tuple[Annotated[Count, Field(ge=1)], ...] = Field(
        default=(3, 6, 12, 24), description="swin_fpn only: heads of each stage"
    )
    window: Extent = Field(default=7, ge=1, description="swin_fpn only: side of a window in cells")
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

    slice_encoder: AnySliceEncoder = Field(
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
    neighbours: Count = Field(
        default=0,
        ge=0,
        description="slice_unet only: slices to each side that come with each (2.5-D)",
    )
    slice_spacing: float = Field(
        default=1.0, gt=0, description="slice_unet only: mm between slices, for their places"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.name in OWN_KEYS:
            raise ValueError(f"{self.name} has keys of its own")
        if self.name == "monai_unet" and self.norm == "group":
            raise ValueError("norm=group is not offered by monai_unet: choose batch or instance")
        if self.name == "swin_fpn":
            self._check_swin()
        self.must_be_probed()
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

    def gives_way(self, given: Mapping[str, Any]) -> bool:
        """As `Section.gives_way`: networks of MONAI and of nnU-Net have other keys."""
        name = str(given.get("name"))
        return name.startswith(PREFIX) or name in OWN_KEYS

    @property
    def packages(self) -> dict[str, str]:
        """The package that offers the network, or its encoder; none for those of medssl."""
        if self.name == "slice_unet":
            return self.slice_encoder.packages
        name, _, version = NETWORKS.package(self.name).rpartition(" ")
        return {name: version} if name else {}

    def must_take(self, patch: Patch, items: int = 2) -> None:
        """Refuse a patch that the network cannot be trained on.

        Args:
            patch: sides in voxels.
            items: patches of the smallest batch that it is given in training.

        Raises:
            UsageError: its levels cannot halve the patch, or a norm is left with a single value;
                names the nearest patch that it can take.
        """
        must_be_offered_flat(self, patch)
        check_patch(patch, self.side_multiples, self.is_flat)
        x, y, z = patch
        if self.name == "slice_unet":
            # The decoder's coarsest map is one level finer than the encoder's; sides round up.
            step = max(1, self.slice_encoder.smallest_side // 2)
            cells, several, larger = ceil(x / step) * ceil(y / step), z * items, (step + 1, y, z)
        elif self.name in {"vnet", "unet3d", "monai_unet"}:
            multiple = self.side_multiple
            cells = prod(max(1, side // multiple) for side in patch)
            several, larger = items, (x, 2 * y, z) if self.is_flat else (x, y, 2 * z)
        else:
            return
        if cells == 1 and (self.norm == "instance" or (self.norm == "batch" and several == 1)):
            raise UsageError(
                f"train.patch={list(patch)} is too small for network.norm={self.norm}",
                f"one value is left of it on the coarsest level of {self.name}, and its "
                "deviation is 0",
                f"the nearest that does is train.patch={list(larger)}, or set network.norm=group",
            )

    def encoder(self) -> dict[str, Any] | None:
        """Name and keys of the encoder, by which two networks are known to have the same one."""
        keys = self.kind.encoder_keys
        if not keys:
            return None
        kept: dict[str, Any] = {"name": self.name}
        for key in keys:
            value = getattr(self, key)
            if isinstance(value, tuple):
                value = list(value[: self.levels - 1])
            kept[key] = value.model_dump() if isinstance(value, BaseModel) else value
        return kept


_BLOCKS = ("width", "levels", "norm")
VNET = Network("medssl.networks.shipped:vnet", encoder_keys=_BLOCKS, flat=True)
UNET3D = Network("medssl.networks.shipped:unet3d", encoder_keys=_BLOCKS, flat=True)
MONAI_UNET = Network("medssl.networks.shipped:monai_unet", flat=True)
CONV_FPN = Network("medssl.networks.shipped:conv_fpn", encoder_keys=("width", "levels"))
SWIN_FPN = Network(
    "medssl.networks.shipped:swin_fpn",
    # Halved from a grid of cells, coarser than the image already: with cells of 2 voxels and five
    # levels 2 * 2^4 = 32. The transformer would pad odd grids by itself, but then its maps would no
    # longer lie over each other.
    side_multiple=lambda settings: settings.embed_stride * halvings(settings),
    cell=lambda settings: settings.embed_stride,
    encoder_keys=("width", "levels", "embed_stride", "depths", "heads", "window"),
)
SLICE_UNET = Network(
    "medssl.networks.shipped:slice_unet",
    side_multiple=lambda _: 1,  # sides of any length
    encoder_keys=("slice_encoder", "slice_transformer"),
)
