"""Settings of `bcp`: defaults are the paper's for the left atrium (sheet section 5)."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medssl.errors import UsageError
from medssl.methods.settings import Answering, Family, MethodSettings

PUBLISHED, LEAST = 2000 / 17_000, 500
"""Share of the steps in the first stage, and the steps that it has at least."""


class Settings(MethodSettings):
    """Bidirectional copy-paste between labelled and unlabelled patches."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.bcp:Bcp"
    paper: ClassVar[str] = "Bai et al., BCP, CVPR 2023 (arXiv 2305.00673)"
    summary: ClassVar[str] = "patches half labelled, half not, in both directions, and a teacher"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "bcp": {},
        "bcp_acdc": {
            "dice": "pooled",
            "first_loss": "by_region",
            "average_statistics": True,
            "first_stage": 0.25,
        },
        "copy_paste": {"first_stage": 1.0},
        "unmixed": {"box": 0.0},
    }

    first_stage: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of the steps that mix labelled patches alone; null: 0.1176 as published "
        "(2000 of 17 000), but at least 500 steps, or half of them where there are fewer than "
        "1000, as a teacher that finds nothing yet teaches that there is nothing",
    )
    first_loss: Literal["whole", "by_region"] = Field(
        default="whole",
        description="of that stage: over the mixed patch, or over both its regions apart and "
        "summed, as released for ACDC",
    )
    box: float = Field(
        default=2 / 3, ge=0, le=1, description="share of each side that is pasted; 0: no mixing"
    )
    pseudo_weight: float = Field(
        default=0.5, ge=0, description="of the part with pseudo-labels, against 1 of the labels"
    )
    decay: float = Field(default=0.99, ge=0, lt=1, description="of the teacher's moving average")
    average_statistics: bool = Field(
        default=False,
        description="the teacher's running statistics are averages of the student's, as released "
        "for ACDC; otherwise its own",
    )
    dice: Literal["per_item", "pooled"] = Field(
        default="per_item",
        description="pooled: squared denominators, all items in one ratio, as released for ACDC",
    )
    components: Literal["per_class", "foreground", "none"] = Field(
        default="per_class",
        description="of a pseudo-label the largest connected part alone is kept, of each class or "
        "of all but the background; none for lesions and other things in several parts",
    )
    neighbours: Literal[6, 18, 26] = Field(
        default=26, description="of a voxel that count as connected; 18 for the pancreas"
    )
    train_mode: bool = Field(
        default=True, description="pseudo-labels with dropout and batch statistics, as released"
    )
    predictor: Answering = Field(
        default="student", description="who predicts; both: the mean of student and teacher"
    )

    def first_steps(self, steps: int) -> int:
        """How many of a training's steps the first stage has."""
        if self.first_stage is not None:
            return round(self.first_stage * steps)
        return max(round(PUBLISHED * steps), min(LEAST, steps // 2))

    def must_fit(self, config: Any) -> None:
        """Refuse batches that cannot be halved, and labels that are lent to other slices.

        Raises:
            UsageError: says what to set.
        """
        loss = config.pipeline.loss
        if loss is not None and loss.slices.axes:
            raise UsageError(
                f"method bcp cannot lend labels along loss.slices.axes={loss.slices.axes}",
                "beside a known slice of its patches lies what was pasted of another scan",
                "leave loss.slices out; what is not known is labelled by the teacher",
            )
        train = config.pipeline.train
        sizes = train.batch_labelled, train.batch_unlabelled
        if sizes[0] % 2 or (self.first_stage != 1 and sizes[0] != sizes[1]):
            raise UsageError(
                f"method bcp cannot halve train.batch_labelled={sizes[0]} and "
                f"train.batch_unlabelled={sizes[1]}",
                "each half of the labelled patches is mixed with a half of the unlabelled ones",
                "give both the same even number",
            )
