"""Settings of `all4one`.

Defaults are for a few hundred volumes and small batches; the preset `paper` has the published
sizes. The published optimiser is LARS at 1.0; here the loop's own, AdamW.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medssl.methods.pretrain.view_settings import ViewSettings
from medssl.section import Count, Items, Section, Width


class Centroid(Section):
    """The transformer that makes one vector of several neighbours."""

    layers: Count = Field(default=2, ge=1, description="of the transformer; published: 3")
    heads: Count = Field(default=4, ge=1, description="of its attention; published: 8")
    hidden: Width = Field(default=256, ge=1, description="width inside its layers; published: 512")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="in its layers")
    rate: float = Field(
        default=0.1, gt=0, le=1, description="factor on the learning rate of the transformer"
    )


class Weights(Section):
    """Of the three terms."""

    neighbour: float = Field(default=0.5, ge=0, description="contrast with the nearest neighbour")
    centroid: float = Field(default=0.5, ge=0, description="contrast with the neighbours' centroid")
    feature: float = Field(default=0.5, ge=0, description="agreement of single features")


class Feature(Section):
    """The feature contrast."""

    rows: Literal["scans", "tokens"] = Field(
        default="tokens",
        description="what features are correlated over; scans, as published, needs as many scans "
        "as features",
    )
    standardised: bool = Field(default=False, description="take means off before; published: false")
    scale: float = Field(default=10.0, gt=0, description="of the term")
    diagonal: float = Field(default=0.5, ge=0, description="weight of a feature with itself")
    others: float = Field(default=0.5, ge=0, description="weight of a feature with others")


class Settings(ViewSettings):
    """All4One: contrast with neighbours, with their centroid, and between features."""

    implementation: ClassVar[str] = "medssl.methods.pretrain.all4one:All4One"
    paper: ClassVar[str] = "Estepa et al., All4One, ICCV 2023"
    summary: ClassVar[str] = "views are told by their neighbours, the centroid of these, features"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "hidden": 2048,
            "outputs": 256,
            "predictor": 4096,
            "queue": 98304,
            "other_patients": False,
            "centroid": {"layers": 3, "heads": 8, "hidden": 512},
            "feature": {"rows": "scans"},
        }
    }

    rows: Literal["scans"] = Field(default="scans", description="scans are compared")
    neighbours: int = Field(default=5, ge=2, description="of a view, from the queue")
    other_patients: bool = Field(
        default=True,
        description="no neighbour is of the view's own patient, whose windows are nearest; "
        "published: false",
    )
    queue: Items = Field(default=4096, ge=8, description="earlier scans that neighbours are from")
    hidden: Width = Field(default=512, ge=1, description="width of the projector's hidden layers")
    outputs: Width = Field(default=128, ge=2, description="width of the embedding")
    predictor: Width = Field(
        default=512, ge=1, description="width of both predictors' hidden layer"
    )
    temperature: float = Field(default=0.2, gt=0, description="of the contrast with neighbours")
    centroid_temperature: float = Field(
        default=0.1, gt=0, description="of the contrast with centroids, as released"
    )
    momentum: float = Field(
        default=0.99, ge=0, le=1, description="of the average at first; a cosine takes it to 1"
    )
    centroid: Centroid = Centroid()
    weights: Weights = Weights()
    feature: Feature = Feature()

    @model_validator(mode="after")
    def _can_be_divided(self) -> Self:
        if self.outputs % self.centroid.heads:
            raise ValueError(
                f"outputs={self.outputs} cannot be divided among {self.centroid.heads} heads: "
                "change outputs or centroid.heads"
            )
        if self.queue <= self.neighbours:
            raise ValueError(f"queue={self.queue} holds no {self.neighbours} neighbours")
        if not any((self.weights.neighbour, self.weights.centroid, self.weights.feature)):
            raise ValueError("nothing to learn from: raise one of the weights")
        return self
