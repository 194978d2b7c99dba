"""Settings of every method, one module per method, free of torch.

A module here named `tracoco` with a class `Settings` is what registers the method `tracoco`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from medssl.data.scan.matching_settings import MatchedViews
from medssl.section import Section

Family = str

Dice = Literal["squares", "per_item", "pooled"]

SupervisedDice = Annotated[
    Dice,
    Field(
        exclude_if=lambda given: given == "squares",
        description="of labelled patches; squares: squared denominators, all patches of a batch "
        "in one ratio, background too where there are several classes; per_item: as nnU-Net, plain "
        "denominators, foreground alone, a ratio for each patch; pooled: as nnU-Net's batch_dice, "
        "one ratio for the batch",
    ),
]
"""Key of methods whose labels are learnt by `medssl.methods.segment.losses.supervised_loss`."""

Answering = Literal["student", "teacher", "both"]
"""Which network of a method with a student and a teacher predicts; both: their mean."""

CELL = 16
"""Windows of an embedding are multiples of this: whole coarse cells of either network."""


class MethodSettings(Section):
    """Base of every method's settings.

    Attributes:
        family: which family runs it, see `medssl.pipeline.family`.
        implementation: "module:Class" of the algorithm.
        paper: what to cite.
        summary: one line for `medssl methods`.
        presets: named sets of settings, applied before the user's own keys.
        by_gradient: whether it has weights to train; otherwise its steps show it examples.
    """

    family: ClassVar[Family]
    implementation: ClassVar[str]
    paper: ClassVar[str]
    summary: ClassVar[str]
    presets: ClassVar[dict[str, dict[str, object]]] = {}
    by_gradient: ClassVar[bool] = True

    def must_fit(self, config: Any) -> None:
        """Refuse settings of a run that the method cannot use, such as a size of patches.

        Called as a pipeline is read, before any of its data is; the method itself need not look.

        Args:
            config: the `medssl.pipeline.config.Config` of the run, whose `check` it has passed.

        Raises:
            UsageError: names the keys, and the nearest values that would do.
        """

    @classmethod
    def preset(cls, name: str) -> Self:
        """The settings of a preset, nothing else changed."""
        return cls.model_validate(cls.presets[name])


@dataclass(frozen=True)
class EmbeddingFirst:
    """An anatomical embedding that a method mines its pairs with, trained as a stage of its own.

    Attributes:
        checkpoint: folder of a trained one; None: it is trained on the same volumes.
        method: name of the method that trains it.
        settings: of that method, as plain values.
        batch: volumes per step.
        patch: window in voxels; None: one and a half times the method's own.
    """

    checkpoint: str | None
    method: str
    settings: dict[str, Any]
    steps: int
    batch: int
    learning_rate: float
    patch: tuple[int, int, int] | None

    def window(self, own: tuple[int, int, int]) -> tuple[int, int, int]:
        """Its window in voxels, for a method whose own is `own`."""
        if self.patch is not None:
            return self.patch
        x, y, z = (max(CELL, round(1.5 * side / CELL) * CELL) for side in own)
        return x, y, z


class GradeMethodSettings(MethodSettings):
    """Base of the settings of methods that train graders."""

    family: ClassVar[Family] = "grade"


class PretrainMethodSettings(MethodSettings):
    """Base of the settings of methods that train encoders for others to start from.

    Attributes:
        learns_from: what its cases are; "mixed": radiographs and volumes together.
        own_network: whether it leaves out the network that `network` describes, or part of it, so
            that windows of any size fit.
        hands_on: an encoder that others start from, or an embedding that finds places again.
        in_2d: whether it learns from windows one voxel thick too, and so from pictures.
    """

    family: ClassVar[Family] = "pretrain"
    learns_from: ClassVar[Literal["volumes", "mixed", "tiles"]] = "volumes"
    own_network: ClassVar[bool] = False
    hands_on: ClassVar[Literal["encoder", "embedding"]] = "encoder"
    in_2d: ClassVar[bool] = False

    def pairs_of_patients(self) -> MatchedViews | None:
        """How windows of two patients are paired; None: the method needs no such pairs."""
        return None

    def tile_sides(self, side: int) -> tuple[int, ...]:
        """Sides in pixels of what an encoder of tiles, or slices, of a `side` is shown."""
        return (side,)

    def needs(self) -> EmbeddingFirst | None:
        """What has to be trained before; None: nothing."""
        return None
