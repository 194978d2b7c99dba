"""A trained slide classifier on disk: all that a new slide needs, from tiles to a call.

Weights are in safetensors: `head.*` of the classifier and, for slides, `encoder.*` of what turns
tiles into features. One JSON beside them says the rest.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from medssl.data.slide.settings import TileSettings
from medssl.errors import DataError
from medssl.infer.bag_ensemble import BagEnsemble
from medssl.methods.method import BagMethod, BagTask
from medssl.methods.registry import implementation, settings_class
from medssl.networks.monai_tile_settings import AnyTileEncoder
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.train.checkpoint import DataCard, load_weights, understood
from medssl.train.description import DESCRIPTION
from medssl.train.feature_scaling import Scale, Scaled
from medssl.transforms.tile_chain import AS_SCANNED, TilePreprocess


class SlideCheckpoint(BaseModel):
    """The description beside the weights.

    Attributes:
        width: features of an instance.
        counts: training bags of each class.
        members: classifiers averaged when predicting.
        thresholds: of each member, the probability from which a bag is positive; two classes only.
        tiles, preprocess, encoder: how slides become features; None for bags that came as features.
        step: update after which the weights were taken, of each member.
        metrics: scores on the validation bags, mean over the members.
        packages: those beside medssl that the encoder is of, with their versions in training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    family: Literal["slide"] = "slide"
    width: int
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    members: int
    thresholds: tuple[float, ...]
    tiles: TileSettings | None
    preprocess: TilePreprocess = AS_SCANNED
    encoder: AnyTileEncoder | None
    method: dict[str, Any]
    paper: str
    split_hash: str
    data: DataCard
    code: str
    step: tuple[int, ...]
    metrics: dict[str, float]
    packages: dict[str, str] = {}

    @property
    def threshold(self) -> float:
        """The mean of the members' thresholds."""
        return sum(self.thresholds) / len(self.thresholds)


class SlideClassifier(nn.Module):
    """The head over bags and, for slides, the encoder of tiles."""

    def __init__(self, head: BagEnsemble, encoder: nn.Module | None) -> None:
        super().__init__()
        self.head = head
        self.encoder = encoder


def build_classifier(described: SlideCheckpoint) -> SlideClassifier:
    """The modules that a description speaks of, not yet with its weights."""
    members = (
        Scaled(build_head(described).predictor(), Scale.none(described.width))
        for _ in range(described.members)
    )
    encoder = None
    if described.encoder is not None:
        # The weights come with the checkpoint, not from where the encoder once had them.
        plain = described.encoder.model_copy(update={"weights": None})
        encoder = build_tile_encoder(plain, seed=0)
    return SlideClassifier(BagEnsemble(members), encoder)


def build_head(described: SlideCheckpoint) -> BagMethod:
    """The method a description speaks of, freshly initialised."""
    plain = {key: value for key, value in described.method.items() if key != "name"}
    settings = settings_class(described.method["name"]).model_validate(plain)
    task = BagTask(described.width, described.classes, described.counts)
    built: BagMethod = implementation(settings)(settings, task, 0)
    return built


def load_slide_checkpoint(folder: Path) -> tuple[SlideClassifier, SlideCheckpoint]:
    """The classifier, in evaluation mode on the CPU, and its description.

    Raises:
        UsageError: the folder is no checkpoint.
        DataError: its description or its weights are damaged.
    """
    found = understood(folder, SlideCheckpoint)
    try:
        classifier = build_classifier(found)
    except (ValidationError, KeyError) as error:
        raise DataError(
            f"{folder / DESCRIPTION} cannot be understood",
            "it names a method or settings that this version of medssl does not know",
            "use the version of medssl that wrote it",
        ) from error
    now = found.encoder.packages if found.encoder else {}
    load_weights(folder, classifier, found.packages, now)
    return classifier.eval(), found
