"""A pipeline of slides, its method's settings and its data spec as one typed object."""

from collections.abc import Sequence
from typing import Any

from medssl.data.classes import declared_classes
from medssl.data.spec import load_spec
from medssl.errors import UsageError
from medssl.pipeline.config import (
    CLASSIFIED,
    RunConfig,
    method_settings,
    read_pipeline,
    validate,
)
from medssl.pipeline.slides.settings import SlidePipeline

WITHOUT_EFFECT = {"train": {"checkpoint_epochs", "device", "threads"}, "predict": {"batch"}}
"""Keys that say how, not what, is computed; they are left out of hashes."""


class SlideConfig(RunConfig[SlidePipeline]):
    """What one run does, complete and checked."""

    without_effect = WITHOUT_EFFECT

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities, the negative class first."""
        return declared_classes(self.spec)

    @property
    def tiled(self) -> bool:
        """Whether the cases are slides, which have to be cut and encoded first."""
        return self.spec.layout.kind == "slides"

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "snuffy, seed 0"."""
        return f"{self.pipeline.method.name}, seed {self.pipeline.seed}"

    def declared(self) -> Any:
        """The layout."""
        return [self.spec.modality, self.spec.layout.model_dump(mode="json")]


def load_slide_config(name_or_path: str, overrides: Sequence[str] = ()) -> SlideConfig:
    """The pipeline of that name or path, with `key.sub=value` overrides applied in order.

    Raises:
        UsageError: unknown pipeline, key, method or preset, a value of the wrong kind, or a data
            set whose cases have no classes.
    """
    plain = read_pipeline(name_or_path, overrides)
    spec = load_spec(plain["data"]) if isinstance(plain.get("data"), str) else None
    of_slides = spec is not None and CLASSIFIED.get(spec.layout.kind) == "slide"
    if spec is not None and not (of_slides and declared_classes(spec)):
        raise UsageError(
            f"the data set {spec.name} has no slides or bags with classes",
            f"its layout is '{spec.layout.kind}'",
            "name a data spec with layout {kind: slides, classes: [normal, tumour]}, or choose a "
            "method that segments",
        )
    pipeline = validate(SlidePipeline, plain)
    spec = spec or load_spec(pipeline.data)
    return SlideConfig(pipeline, method_settings(pipeline.method), spec)
