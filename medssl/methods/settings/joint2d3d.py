"""Settings of `joint2d3d`.

Defaults are the method as its paper describes it, at the sizes of the sheet's section 9 ("ours");
`released` presets have the numbers and the three stages of the released code, with this attention
instead of the release's, which does not mix slices (sheet, section 6). Sizes of the networks stand
in the section `network` of a pipeline. The loop's part: AdamW, learning rate 1e-3, weight decay
1e-4, 5 % warm-up and a cosine to 0, clip_norm 2.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medssl.data.mixed.settings import CropSettings, SliceAugment
from medssl.errors import UsageError
from medssl.methods.settings import PretrainMethodSettings
from medssl.section import Batch, Count, Items, Section, Steps, Width


class Level(Section):
    """The clusters of images and slices, or those of volumes."""

    prototypes: Width = Field(
        default=512, ge=2, description="K; released: 3000, or 4 in each head of volumes"
    )
    heads: Count = Field(default=3, ge=1, description="deepcluster: clusterings side by side")
    queue: Items = Field(
        default=0, ge=0, description="swav: earlier items that are assigned with a batch's; K or "
        "more with it, or the assignments of a small batch stay near uniform"
    )  # fmt: skip
    balance: Literal["all", "data_set"] = Field(
        default="all",
        exclude_if=lambda given: given == "all",
        description="swav: prototypes are used alike by the items of all data sets together, so "
        "that each may get clusters of its own; or by the items of each data set, so that no "
        "cluster tells of which it is",
    )
    freeze_steps: Steps = Field(
        default=313, ge=0, description="of this level's loss, until its prototypes learn"
    )


class Swav(Section):
    """Assignments of one view are predicted from the other."""

    epsilon: float = Field(default=0.05, gt=0, description="sharpness of the assignments")
    iterations: Count = Field(default=3, ge=1, description="of Sinkhorn and Knopp")
    queue_from: Steps = Field(
        default=500, ge=0, description="steps of a level's loss before its queue starts to fill"
    )


class DeepCluster(Section):
    """Deep clustering: predict the clusters of all items, made of embeddings of earlier steps."""

    iterations: Count = Field(default=10, ge=1, description="of k-means")
    every: Steps = Field(default=500, ge=1, description="steps between clusterings: one epoch")
    fill_steps: Steps = Field(
        default=500, ge=1, description="steps that only fill the memory, before the first"
    )
    drift: bool = Field(
        default=False,
        description="the centroids of volumes learn between clusterings, as released",
    )


class Masking(Section):
    """Some slices are hidden from the transformer, which says what they are."""

    share: float = Field(default=0.1, gt=0, lt=1, description="of a volume's slices; at least one")
    loss: Literal["masked", "all"] = Field(
        default="masked",
        description="all: the release's mean over all slices, seen ones too, over int(share * N)",
    )
    target: Literal["unit", "raw"] = Field(
        default="unit", description="slice embeddings of length 1, or as they are (released)"
    )
    views: Literal["own", "shared"] = Field(
        default="own", description="shared: the same slices of both views (released)"
    )


class Weights(Section):
    """Weights of the three losses."""

    intra: float = Field(default=1.0, ge=0, description="clusters of images and slices")
    mask: float = Field(default=1.0, ge=0, description="hidden slices")
    inter: float = Field(default=1.0, ge=0, description="clusters of volumes")
    halve_mask: bool = Field(
        default=True,
        description="halves `mask` once its loss is below 0.05 while volumes still are in no "
        "clusters (their loss within 5 % of ln K)",
    )


class Collapse(Section):
    """When training is given up, as all volumes get the same answer."""

    deviation: float = Field(
        default=0.3, ge=0, description="of volume vectors, times sqrt(width); less is collapsed"
    )
    used: float = Field(
        default=0.5, ge=0, le=1, description="share of a level's prototypes; less is collapsed"
    )
    patience: Steps | None = Field(
        default=2000, ge=1, description="so many collapsed steps in a row; null: never gives up"
    )


class Head(Section):
    """From embeddings of slices to the space where they are clustered."""

    hidden: Width = Field(default=2048, ge=1, description="width of the hidden layer")
    outputs: Width = Field(default=128, ge=1, description="width of the space")


RELEASED: dict[str, Any] = {
    "order": "sequential",
    "masking": {"loss": "all", "target": "raw", "views": "shared"},
    "weights": {"halve_mask": False},
    "warm_up": 105 / 305,
    "mask_only": 100 / 305,
}


class Settings(PretrainMethodSettings):
    """Joint 2D-3D pre-training: slices and volumes that fall into clusters."""

    implementation: ClassVar[str] = "medssl.methods.pretrain.joint2d3d:Joint2d3d"
    paper: ClassVar[str] = "Nguyen et al., Joint self-supervised 2D-3D, AAAI 2023"
    summary: ClassVar[str] = (
        "one encoder from images and volumes, by clusters of slices and volumes"
    )
    learns_from: ClassVar = "mixed"
    own_network: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"images": {"prototypes": 3000}, "volumes": {"prototypes": 3000}},
        "deepcluster": {"clustering": "deepcluster"},
        "released": {
            **RELEASED,
            "images": {"prototypes": 3000, "heads": 1},
            "volumes": {"prototypes": 3000, "heads": 1},
            "crops": {"local": {"count": 6}},
        },
        "released_deepcluster": {
            **RELEASED,
            "clustering": "deepcluster",
            "images": {"prototypes": 3000},
            "volumes": {"prototypes": 4},
            "deepcluster": {"drift": True},
        },
        "small": {
            "images": {"prototypes": 32, "freeze_steps": 20},
            "volumes": {"prototypes": 16, "freeze_steps": 20},
            "masking": {"share": 0.15},
            "head": {"hidden": 64, "outputs": 64},
            "deepcluster": {"every": 50, "fill_steps": 50},
        },
    }

    order: Literal["joint", "sequential"] = Field(
        default="joint",
        description="last part of training: all three losses, or that of volumes alone (released)",
    )
    warm_up: float = Field(
        default=0.2, ge=0, lt=1, description="share of training on images and slices alone"
    )
    mask_only: float = Field(
        default=0.0, ge=0, lt=1, description="share after it on hidden slices alone, with the "
        "network of slices at rest"
    )  # fmt: skip
    clustering: Literal["swav", "deepcluster"] = Field(
        default="swav",
        description="how clusters are found: swapped assignments of a batch, or k-means over "
        "all items",
    )
    images: Level = Level(prototypes=512, queue=1024)
    volumes: Level = Level(prototypes=64, queue=1024)
    temperature: float = Field(default=0.1, gt=0, description="of predictions of clusters")
    swav: Swav = Swav()
    deepcluster: DeepCluster = DeepCluster()
    masking: Masking = Masking()
    weights: Weights = Weights()
    slices: Batch = Field(
        default=4, ge=0, description="of each volume, for the loss of images and slices"
    )
    head: Head = Head()
    crops: CropSettings = CropSettings()
    augment: SliceAugment = SliceAugment()
    collapse: Collapse = Collapse()

    @model_validator(mode="after")
    def _phases_fit(self) -> Self:
        if self.warm_up + self.mask_only >= 1:
            raise ValueError("warm_up and mask_only leave nothing of training to volumes")
        balanced = self.images.balance, self.volumes.balance
        if self.clustering == "deepcluster" and "data_set" in balanced:
            raise ValueError("balance=data_set is of clustering=swav; k-means shares nothing out")
        alone = {"intra": self.warm_up > 0, "mask": self.mask_only > 0}
        alone["inter"] = self.order == "sequential"
        for name, needed in alone.items():
            if needed and not getattr(self.weights, name):
                raise ValueError(f"a part of training has the loss {name} alone; give it a weight")
        return self

    def tile_sides(self, side: int) -> tuple[int, ...]:
        """As `PretrainMethodSettings.tile_sides`: with those of its small crops."""
        local = self.crops.local
        return (side, *([local.side] if local.count else []))

    def must_fit(self, config: Any) -> None:
        """Refuse a network of slices with neighbours, and batches that hold nothing to learn from.

        Raises:
            UsageError: says what to set.
        """
        network, joint = config.pipeline.network, config.pipeline.train.joint
        if not network.film or network.neighbours:
            raise UsageError(
                "joint2d3d pre-trains a network of single slices with a transformer over them",
                f"the pipeline has network.film={network.film}, "
                f"network.neighbours={network.neighbours}",
                "set network.film=true network.neighbours=0; what is pre-trained also fits "
                "networks without film and with neighbours",
            )
        if not joint.volumes and (self.weights.mask or self.weights.inter):
            raise UsageError(
                "train.joint.volumes=0 leaves joint2d3d no volumes to learn from",
                do="set it to at least 1, or method.weights.mask=0 method.weights.inter=0",
            )
        if self.weights.intra and not joint.images and not (joint.volumes and self.slices):
            raise UsageError(
                "train.joint.images=0 and method.slices=0 leave joint2d3d nothing to cluster",
                do="set one of them to at least 1, or method.weights.intra=0 method.warm_up=0",
            )
