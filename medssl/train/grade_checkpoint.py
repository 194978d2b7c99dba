"""A trained grader of radiographs on disk: all that a new file needs, from pixels to a grade."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from medssl.networks.ensemble import Ensemble
from medssl.networks.grader import build_grader
from medssl.networks.monai_grader_settings import AnyGrader
from medssl.train.checkpoint import DataCard, load_weights, understood
from medssl.transforms.radiograph_chain import RadiographPreprocess, from_crop


class GradeCheckpoint(BaseModel):
    """The description beside the weights.

    Attributes:
        grades: their names, in the order of the logits.
        preprocess: how an image becomes what the network sees.
        views: names of its crops, in order.
        temperature: logits are divided by it before the softmax; chosen on validation images, or
            on those that folds left out, 1 without any.
        step: update after which the weights were taken.
        metrics: scores of the validation images at that step.
        members: networks averaged when predicting.
        packages: those beside medssl that the network is of, with their versions in training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    family: Literal["grade"] = "grade"
    grades: tuple[str, ...]
    preprocess: RadiographPreprocess
    views: tuple[str, ...]
    network: AnyGrader
    temperature: float
    method: dict[str, Any]
    paper: str
    split_hash: str
    data: DataCard
    code: str
    step: int
    metrics: dict[str, float]
    members: int = 1
    packages: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _spelt_out(cls, given: Any) -> Any:
        """With a chain, also where it was written before there were chains."""
        if not isinstance(given, dict) or not isinstance(given.get("crop"), dict):
            return given
        chain = RadiographPreprocess.of(from_crop(given["crop"]))
        views = chain.picture.views if chain.picture else ()
        rest = {key: value for key, value in given.items() if key != "crop"}
        return {**rest, "preprocess": chain, "views": views}


def load_grade_checkpoint(folder: Path) -> tuple[Ensemble, GradeCheckpoint]:
    """The networks as one, in evaluation mode on the CPU, and their description.

    Raises:
        UsageError: the folder is no checkpoint.
        DataError: its description or its weights are damaged.
    """
    found = understood(folder, GradeCheckpoint)
    # The weights come with the checkpoint, not from where the encoder once had them.
    plain = found.network.model_copy(update={"weights": None})
    joined = Ensemble(
        build_grader(plain, len(found.views), len(found.grades), seed=0)
        for _ in range(found.members)
    )
    # One network alone is written as it is.
    own = joined if found.members > 1 else joined.members[0]
    load_weights(folder, own, found.packages, found.network.packages)
    return joined.eval(), found
