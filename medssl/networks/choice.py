"""What is known of every network before it is built, whoever wrote it.

Free of torch, so that a wrong key is refused at once.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import Field

from medssl.errors import UsageError
from medssl.networks.flat_settings import Dims, must_be_offered_flat, sized
from medssl.networks.monai_encoder_keys import MONAI_ENCODERS
from medssl.networks.monai_list import PREFIX, known
from medssl.registry import NETWORKS
from medssl.section import Items, Patch, Section, check_patch

if TYPE_CHECKING:
    NetworkName = str
else:
    NetworkName = Literal[(*NETWORKS.names(), *(f"{PREFIX}{name}" for name in known()))]
    """Known networks, those of other packages too, so that messages and schemas list them."""


Probe = Literal["linear", "neighbours"]

SKIP = "skip"
"""The decoder that `medssl.networks.skip_decoder` puts on any encoder."""

OwnDecoder = Annotated[
    Literal["own", "linear", "neighbours", "skip"],
    Field(
        exclude_if=lambda given: given == "own",
        description="linear: one linear map of the features of all levels in place of the "
        "network's own; neighbours: as the nearest labelled voxels in these features; skip: the "
        "decoder that method=alice trains and hands on",
    ),
]


def halvings(settings: Any) -> int:
    """The side multiple of a network that halves its input between levels."""
    return 1 << (int(settings.levels) - 1)


@dataclass(frozen=True)
class Network:
    """A network that a pipeline may name.

    Attributes:
        build: "module:function" that is given the `NetworkSettings`, the number of channels and
            the number of classes, and returns a module from images [B, channels, X, Y, Z] to
            logits [B, classes, X, Y, Z]. Torch's generator is seeded when it is called, so that
            equal seeds give equal weights.
        side_multiple: of the settings, how many voxels the sides of a patch must be a multiple of.
        cell: of the settings, side in voxels of the cells that its encoder embeds, of which each is
            masked as a whole; 1: single voxels.
        flat: whether it is also built for 2-D images [B, channels, X, Y], where the settings say
            `spatial_dims=2`.
        encoder_keys: the keys of the settings that the weights of its encoder depend on. Such a
            network has an attribute `encoder`, a `medssl.networks.encoder.VolumeEncoder`, which
            can be pre-trained. Empty: it has none.
    """

    build: str
    side_multiple: Callable[[Any], int] = halvings
    cell: Callable[[Any], int] = lambda _: 1
    encoder_keys: tuple[str, ...] = ()
    flat: bool = False


class NetworkChoice(Section):
    """What is known of a network before it is built, whoever wrote it."""

    name: NetworkName
    frozen: bool = False
    decoder: str = "own"
    nearest: Items = Field(
        default=20,
        ge=1,
        exclude_if=lambda given: given == 20,
        description="decoder: neighbours: so many of the nearest labelled voxels vote",
    )
    spatial_dims: Dims = None

    @property
    def kind(self) -> Network:
        """How it is built, and what it takes: the shipped network, or that of another package.

        Raises:
            UsageError: that of another package cannot be used.
        """
        return NETWORKS.find(self.name, Network)

    @property
    @abstractmethod
    def packages(self) -> dict[str, str]:
        """Packages beside medssl that it is of, with their versions."""

    @property
    def side_multiple(self) -> int:
        """Voxels that patch sides must be a multiple of, so that every level halves exactly."""
        return self.kind.side_multiple(self)

    @property
    def side_multiples(self) -> tuple[int, int, int]:
        """`side_multiple` for each axis."""
        return (self.side_multiple,) * 3

    @property
    def cell(self) -> int:
        """Side in voxels of the cells that the encoder embeds; 1: single voxels."""
        return self.kind.cell(self)

    @property
    def probed(self) -> Probe | None:
        """What stands in place of its decoder to tell what the encoder knows; None: nothing."""
        return next((one for one in get_args(Probe) if one == self.decoder), None)

    @property
    def decoder_replaced(self) -> bool:
        """Whether another decoder, or a probe, stands in place of its own."""
        return self.decoder == SKIP or self.probed is not None

    @property
    def is_flat(self) -> bool:
        """Whether it is built for 2-D images."""
        return self.spatial_dims == 2

    def sized(self, patch: Patch) -> Self:
        """The same network for patches of these sides: 2-D where they are one voxel thick.

        Raises:
            ValueError: it says that it is for others.
        """
        return sized(self, patch)

    def unsized(self) -> Self:
        """The same network for patches of no particular sides."""
        return self

    def must_take(self, patch: Patch, items: int = 2) -> None:
        """Refuse a patch that the network cannot be trained on, as far as that is known.

        Args:
            patch: sides in voxels.
            items: patches of the smallest batch that it is given in training.

        Raises:
            UsageError: names the nearest patch that it can take.
        """
        must_be_offered_flat(self, patch)
        check_patch(patch, self.side_multiples, self.is_flat)

    def must_have_encoder(self) -> None:
        """Refuse a network without an encoder of its own.

        Raises:
            UsageError: names those that have one.
        """
        if not self.kind.encoder_keys:
            offered = [one for one in NETWORKS.names() if NETWORKS.find(one, Network).encoder_keys]
            raise UsageError(
                f"network.name={self.name} has no encoder of its own",
                "so none can be pre-trained for it, nor put into it",
                f"choose one of: {', '.join([*offered, *MONAI_ENCODERS])}",
            )

    def must_be_probed(self) -> None:
        """Refuse keys of an encoder where there is none.

        Raises:
            ValueError: says which.
        """
        replaced = f"decoder={self.decoder}" if self.decoder_replaced else ""
        key = "frozen" if self.frozen else replaced
        if key and not self.kind.encoder_keys:
            raise ValueError(f"{self.name} has no encoder of its own: leave {key} out")

    @abstractmethod
    def encoder(self) -> dict[str, Any] | None:
        """What an encoder's weights depend on, by key; None where there is no encoder.

        Two networks with equal answers can hand their encoders to each other.
        """
