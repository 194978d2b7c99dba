"""The section `fine_tune` of a pipeline; free of torch, so that a wrong key is refused at once."""

from typing import Literal, Self

from pydantic import Field, model_validator

from medssl.section import Section


class FineTuneSettings(Section):
    """How the rates go where training starts from a pre-trained encoder; otherwise unused.

    Sources: nnssl's schedules (its sheet, sections 3 and 4.2); modality-invariant learning (its
    sheet, section 7) for frozen_then_whole and the factors.
    """

    schedule: Literal["default", "frozen_then_whole", "warm_up", "sawtooth"] = Field(
        default="default",
        description="default: that of the optimiser; warm_up: a linear rise before it; "
        "frozen_then_whole: the encoder rests at first, then has a rise and a schedule of its own; "
        "sawtooth: rise and schedule with a resting encoder, then again with all. All but default "
        "have their own rise in place of warmup_steps, and change the rate every step",
    )
    frozen: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of the steps in which the encoder rests; null: 0.3 in "
        "frozen_then_whole, 0.1 in sawtooth, as published",
    )
    warm_up: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="share of the steps of each rise of the whole network; null: 0.05 in "
        "frozen_then_whole, 0.1 in warm_up and sawtooth, as published; the first rise of sawtooth "
        "is half of `frozen`",
    )
    encoder_rate: float = Field(
        default=0.1, gt=0, description="factor on the learning rate of the encoder; nnssl: 1"
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="a further factor for each level of the encoder from the coarsest to the stem",
    )
    encoder_decay: float = Field(
        default=0.1, ge=0, description="factor on the weight decay of the encoder; nnssl: 1"
    )

    @model_validator(mode="after")
    def _fits_in(self) -> Self:
        if (self.frozen or 0) + (self.warm_up or 0) >= 1:
            raise ValueError("frozen and warm_up leave no step for the whole network")
        return self
