"""Settings of `dmpls`: defaults are those of WSL4MIS, the preset `pymic` those of PyMIC."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medssl.errors import UsageError
from medssl.methods.settings import Family, MethodSettings
from medssl.section import Shares


class Settings(MethodSettings):
    """One encoder and two decoders, taught on scribbles and by a mixture of their answers."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.dmpls:Dmpls"
    paper: ClassVar[str] = "Luo et al., DMPLS, MICCAI 2022 (arXiv 2203.02106)"
    summary: ClassVar[str] = "scribbles, and mixed answers of two decoders to all else"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "dmpls": {},
        "pymic": {"weight": 0.1, "rampup": (0.033, 0.25)},
        "dmsps": {"target": "soft", "weight": 8.0},
    }

    weight: float = Field(
        default=0.5, ge=0, description="of the mixed pseudo-labels against the scribbles"
    )
    rampup: Shares = Field(
        default=(0.0, 0.0),
        description="shares of the steps between which that weight rises; released: at once",
    )
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="of channels that the second decoder sees"
    )
    target: Literal["hard", "soft"] = Field(
        default="hard",
        description="hard: labels, by Dice; soft: probabilities, by cross-entropy, as the first "
        "stage of DMSPS",
    )

    def must_fit(self, config: Any) -> None:
        """Refuse batches passed in turns.

        Raises:
            UsageError: says what to set.
        """
        if config.pipeline.train.accumulate > 1:
            raise UsageError(
                f"train.accumulate={config.pipeline.train.accumulate} does not go with dmpls",
                "its second decoder needs the features of the whole batch",
                "set train.accumulate=1, or a smaller train.batch_labelled",
            )
