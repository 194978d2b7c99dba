"""What a network may cost, and how its cost is counted.

The cost is the number of activations that convolutions write for one patch, which is what memory
goes to. Sources: nnU-Net's planners; sections 2.3 and 6.2 of the planning sheet.
"""

from dataclasses import dataclass, replace
from math import prod

from medssl.data.plan.topology import Topology

RESIDUAL_BLOCKS = (1, 3, 4, 6, 6, 6, 6, 6, 6, 6)
"""Blocks of the levels of a residual encoder."""


LARGER = 2.0
"""How many times larger than those of the scans voxels may become for a patch to see more."""

ACROSS = 4
"""Voxels that small parts of the masks stay across where voxels become larger."""


@dataclass(frozen=True)
class Budget:
    """A network of a kind and how much of it fits.

    Attributes:
        name: in words.
        network: "plain_unet" or "residual_unet".
        volumes: cost of each of two patches of volumes that fit together.
        images: cost of each of twelve patches of planar images that fit together.
        covered: largest share of the voxels of the data set that one batch may hold.
        features: of the first level, doubled per level.
        most: features at most, of volumes and of planar images.
        steps: of training.
        lean: a plain network with a single convolution where voxels are finest, and in its decoder.
        given: features of the levels, where they are not to be planned.
        seen: share of the median scan that a patch is to show; voxels of volumes are made larger
            until it does, by `LARGER` times at most and to what leaves small parts `ACROSS` voxels.
    """

    name: str
    network: str
    volumes: float
    images: float
    covered: float
    features: int = 32
    most: tuple[int, int] = (320, 512)
    steps: int = 25_000
    lean: bool = False
    given: tuple[int, ...] = ()
    seen: float = 0.0

    def scaled(self, factor: float, name: str) -> "Budget":
        """The budget with more or less of what is scarce."""
        return replace(self, name=name, volumes=self.volumes * factor, images=self.images * factor)

    def reference(self, axes: int) -> tuple[float, int]:
        """The cost of a patch, and how many such patches fit together."""
        return (self.volumes, 2) if axes == 3 else (self.images, 12)

    def spare(self, axes: int) -> float:
        """How many times the reference one patch may cost, since two are enough for a batch."""
        return 1 if self.residual or axes == 3 else self.reference(axes)[1] / 2

    def feature_counts(self, levels: int, axes: int) -> tuple[int, ...]:
        """Features of each level."""
        if self.given:
            return tuple(self.given[min(level, len(self.given) - 1)] for level in range(levels))
        most = self.most[0] if axes == 3 else self.most[1]
        return tuple(min(self.features * 2**level, most) for level in range(levels))

    def blocks(self, levels: int) -> tuple[int, ...]:
        """Convolutions, or residual blocks, of each level of the encoder."""
        if self.residual:
            return RESIDUAL_BLOCKS[:levels]
        return (1 if self.lean else 2, *(2,) * (levels - 1))

    @property
    def residual(self) -> bool:
        """Whether its encoder is made of residual blocks."""
        return self.network == "residual_unet"

    @property
    def decoder_convs(self) -> int:
        """Convolutions of each level of the decoder."""
        return 1 if self.residual or self.lean else 2


PLAIN = Budget("a GPU with 8 GB", "plain_unet", 5.6e8, 8.5e7, 0.05)
RESIDUAL_M = Budget("a GPU with 8 GB", "residual_unet", 6.8e8, 1.35e8, 1.0)
RESIDUAL_L = Budget("a GPU with 24 GB", "residual_unet", 2.1e9, 3.8e8, 1.0)
RESIDUAL_XL = Budget("a GPU with 40 GB", "residual_unet", 3.6e9, 5.6e8, 1.0)

CPU = Budget(
    "a CPU",
    "plain_unet",
    volumes=2e6,
    images=5e5,
    covered=0.05,
    features=8,
    most=(80, 128),
    steps=1_200,
    lean=True,
    seen=0.6,
)
"""By the time of one core and not by memory, with a quarter of the features and fewer convolutions:
not as nnU-Net does.

Two patches of volumes cost about as much time as eight of images of 128 x 128 pixels, so that a
step takes about as long on all data.
"""

LEAST = 1.0
"""GB of a supervised training on a CPU: 0.7 before it has a patch, and 0.2 with that of `CPU`."""

_TABLES = {
    "plain_unet": ((PLAIN, 8.0),),
    "residual_unet": ((RESIDUAL_XL, 40.0), (RESIDUAL_L, 24.0), (RESIDUAL_M, 8.0)),
}

LARGE = 24.0
"""GB from which a residual network is the better choice."""


def budget_for(device: str, memory: float, network: str | None = None) -> Budget:
    """What fits on a device.

    On a GPU that is nnU-Net's reference in proportion to the memory; on a CPU it is `CPU`, whatever
    the memory.

    Args:
        device: "cpu" or "cuda".
        memory: GB that training may take; on a CPU `LEAST` at least.
        network: "plain_unet" or "residual_unet"; None: plain below 24 GB and on a CPU.
    """
    if device == "cpu":
        return replace(CPU, network=network or "plain_unet")
    name = network or ("residual_unet" if memory >= LARGE else "plain_unet")
    table = _TABLES[name]
    own, least = next((one for one in table if memory >= one[1]), table[-1])
    return own.scaled(memory / least, f"a GPU with {memory:g} GB")


def cost(budget: Budget, shape: Topology, classes: int) -> int:
    """Activations that the convolutions of a network write for one patch.

    Counted are the convolutions of encoder and decoder, those of a residual block's skip (one where
    it changes features or has a stride), transposed ones, and the head at full resolution.
    """
    features = budget.feature_counts(len(shape.strides), len(shape.patch))
    blocks = budget.blocks(len(features))
    sizes, left = list[int](), list(shape.patch)
    for stride in shape.strides:
        left = [side // step for side, step in zip(left, stride, strict=True)]
        sizes.append(prod(left))
    total = features[0] * sizes[0] if budget.residual else 0  # the stem
    before = features[0]
    for level, (count, own, size) in enumerate(zip(features, blocks, sizes, strict=True)):
        if budget.residual:
            convs = 2 * own + int(count != before or max(shape.strides[level]) > 1)
        else:
            convs = own
        total += convs * count * size
        before = count
    for count, size in zip(features[:-1], sizes[:-1], strict=True):
        total += (1 + budget.decoder_convs) * count * size
    return total + classes * sizes[0]
