"""The section `loss` of a pipeline: what labels cost, in place of or beside the method's own.

Free of torch and of MONAI, so that a wrong name or argument is refused at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from medssl.errors import UsageError
from medssl.methods.segment.monai_losses import EXCLUSIVE, GIVEN, OF_SHAPES, MonaiLoss, known
from medssl.mistakes import UNKNOWN_ARGUMENT, nearest
from medssl.section import Extent, Section

PREFIX, CROSS_ENTROPY = "monai:", "cross_entropy"


class Kernel(Section):
    """How much two voxels have to do with each other."""

    weight: float = Field(default=1.0, ge=0, description="of this kernel among others")
    space: float = Field(default=6.0, gt=0, description="standard deviation in voxels of the plane")
    intensity: float | None = Field(
        default=0.1,
        gt=0,
        description="standard deviation of intensities as the network sees them; "
        "null: they are not looked at",
    )


class GatedCrf(Section):
    """Near voxels that look alike are to be answered alike, for masks of scribbles."""

    weight: float = Field(default=0.0, ge=0, description="beside what labels cost; 0: left out")
    radius: Extent = Field(default=5, ge=1, description="of the window in the plane, voxels")
    kernels: tuple[Kernel, ...] = (Kernel(),)


class Slices(Section):
    """Labels of known slices are lent to those beside them, for masks of a few slices."""

    axes: str = Field(
        default="",
        pattern="^x?y?z?$",
        description="along which a voxel takes the label of the nearest known one in its patch, "
        "e.g. z, or xz for slices of two directions; empty: none is lent",
    )
    weight: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="of a voxel beside a known one; to the power of the distance of others",
    )
    falling: bool = Field(
        default=True,
        description="the weight falls to 0 in six stairs, as in DeSCO: at the end only what is "
        "known is learnt",
    )
    reach: Extent = Field(default=32, ge=1, description="largest distance, voxels")


class LossChoice(Section):
    """A loss of MONAI, whose arguments are whatever else is given, and what is added to it."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(
        default=None,
        description="monai:CLASS, a class of monai.losses, e.g. monai:DiceFocalLoss; "
        "cross_entropy, which does not learn the size of scribbles; null: what the method says",
    )
    weights: dict[str, float] = Field(
        default={},
        description="of classes, by name, background too; those that are not named have 1. For "
        "losses that weigh classes, such as monai:DiceCELoss",
    )
    exclusion: float = Field(
        default=0.0,
        ge=0,
        description="weight of what a class costs that a case does not outline, on voxels that are "
        "another class there; see `outlined` in data specs",
    )
    gated_crf: GatedCrf = GatedCrf()
    slices: Slices = Field(default=Slices(), exclude_if=lambda given: given == Slices())

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _possible(self) -> Self:
        losses = [CROSS_ENTROPY, *(PREFIX + name for name in known())]
        if self.name is not None and self.name not in losses:
            raise ValueError(f"no loss is called '{self.name}'; {nearest(self.name, losses)}")
        takes = self.monai.arguments if self.monai else {}
        wrong = [
            InitErrorDetails(type=self._unknown(key, list(takes)), loc=(key,), input=value)
            for key, value in self.arguments.items()
            if key not in takes
        ]
        if wrong:
            raise ValidationError.from_exception_data("loss", wrong)
        if self.weights and not (self.monai and self.monai.weighs):
            weighing = ", ".join(PREFIX + name for name, one in known().items() if one.weighs)
            raise ValueError(f"{self.name or 'it'} weighs no classes; these do: {weighing}")
        if self.slices.axes and self.monai:
            raise ValueError(
                f"{self.name} weighs no voxels, which loss.slices asks for; leave one of them out"
            )
        if odd := [name for name, weight in self.weights.items() if weight < 0]:
            raise ValueError(f"the weight of {odd[0]} is below 0")
        return self

    @property
    def monai(self) -> MonaiLoss | None:
        """The constructor of its class; None where it is none of MONAI."""
        own = (self.name or "").removeprefix(PREFIX)
        return known()[own] if own != (self.name or "") else None

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Those that are given."""
        return dict(self.model_extra or {})

    def must_fit(self, classes: Sequence[str], partial: bool, regions: bool = False) -> None:
        """Refuse weights of classes that there are not, and losses that need every voxel.

        Args:
            classes: names, background first, or those of regions.
            partial: whether masks may be ignored in part.
            regions: whether a voxel may be in several.

        Raises:
            UsageError: says what would do.
        """
        for name in self.weights:
            if name not in classes:
                raise UsageError(
                    f"loss.weights names '{name}', which is no class", do=nearest(name, classes)
                )
        if regions and (self.name or "").removeprefix(PREFIX) in EXCLUSIVE:
            raise UsageError(
                f"loss.name={self.name} is of classes of which each voxel is one, and the data set "
                "declares regions",
                "a voxel may be in several of these",
                "leave `loss` out for cross-entropy and Dice of each region, or choose "
                "monai:DiceFocalLoss",
            )
        if partial and (self.name or "").removeprefix(PREFIX) in OF_SHAPES:
            raise UsageError(
                f"loss.name={self.name} looks at whole shapes, and the masks are ignored in part",
                "no voxel can be left out of it",
                "choose a loss of single voxels, such as monai:DiceFocalLoss",
            )

    def _unknown(self, key: str, takes: list[str]) -> PydanticCustomError:
        what = f"{self.name or 'the loss of the method'} has no such argument"
        if key in GIVEN:
            what, takes = "medssl gives it by itself; classes are weighed by `weights`", []
        return PydanticCustomError(UNKNOWN_ARGUMENT, "{what}", {"what": what, "known": takes})
