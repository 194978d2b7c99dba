"""A trained grader of radiographs on disk: all that a new file needs, from pixels to a grade."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from medssl.networks.grader import Grader, build_grader
from medssl.networks.grader_settings import GraderSettings
from medssl.train.checkpoint import DataCard, load_weights, understood
from medssl.transforms.radiograph_chain import RadiographPreprocess, from_crop


class GradeCheckpoint(BaseModel):
    """The description beside the weights.

    Attributes:
        grades: their names, in the order of the logits.
        preprocess: how an image becomes what the network sees.
        views: names of its crops, in order.
        temperature: logits are divided by it before the softmax; chosen on validation images, 1
            without any.
        step: update after which the weights were taken.
        metrics: scores of the validation images at that step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    family: Literal["grade"] = "grade"
    grades: tuple[str, ...]
    preprocess: RadiographPreprocess
    views: tuple[str, ...]
    network: GraderSettings
    temperature: float
    method: dict[str, Any]
    paper: str
    split_hash: str
    data: DataCard
    code: str
    step: int
    metrics: dict[str, float]

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


def load_grade_checkpoint(folder: Path) -> tuple[Grader, GradeCheckpoint]:
    """The network, in evaluation mode on the CPU, and its description.

    Raises:
        UsageError: the folder is no checkpoint.
        DataError: its description or its weights are damaged.
    """
    found = understood(folder, GradeCheckpoint)
    # The weights come with the checkpoint, not from where the encoder once had them.
    plain = found.network.model_copy(update={"weights": None})
    network = build_grader(plain, len(found.views), len(found.grades), seed=0)
    load_weights(folder, network)
    return network.eval(), found
