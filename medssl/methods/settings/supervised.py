"""Settings of `supervised`."""

from typing import Any, ClassVar

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings, SupervisedDice
from medssl.section import Count


class Settings(MethodSettings):
    """Cross-entropy and Dice on the labelled cases alone."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.supervised:Supervised"
    paper: ClassVar[str] = "Milletari et al., V-Net, 3DV 2016"
    summary: ClassVar[str] = "cross-entropy + Dice on the labelled cases: the baseline"
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    members: Count = Field(
        default=1, ge=1, description="independently initialised networks, averaged when predicting"
    )
    dice: SupervisedDice = "squares"
    noise: float = Field(default=0.0, ge=0, description="uniform input noise in +/- this")

    def must_fit(self, config: Any) -> None:
        """Refuse a patch that labelled patches alone are too few for.

        Raises:
            UsageError: names the nearest that does.
        """
        train = config.pipeline.train
        config.pipeline.network.must_take(train.patch, train.batch_labelled)
