"""What one run on slides, or on bags of features, does."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar

from medssl.data.classes import declared_classes
from medssl.data.layouts import layout_of
from medssl.errors import UsageError
from medssl.families.slide.settings import SlidePipeline
from medssl.pipeline.config import Config


class SlideConfig(Config[SlidePipeline]):
    """What one run on slides does, complete and checked."""

    file = SlidePipeline
    about = "call slides or bags of features"
    reads = frozenset({"slides", "bags"})
    without_effect: ClassVar = {
        "train": {"checkpoint_epochs", "device", "threads"},
        "predict": {"batch"},
    }

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities, the negative class first."""
        return declared_classes(self.spec)

    @property
    def tiled(self) -> bool:
        """Whether the cases are slides, which have to be cut and encoded first."""
        return layout_of(self.spec).content == "slides"

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "snuffy, seed 0"."""
        return f"{self.pipeline.method.name}, seed {self.pipeline.seed}"

    def section(self, name: str) -> Any:
        """As of every family; weights of the encoder count by content, wherever the file lies."""
        plain = super().section(name)
        weights = self.pipeline.encoder.weights
        if name == "encoder" and weights is not None and Path(weights).is_file():
            # A missing one is refused when it is loaded.
            with Path(weights).open("rb") as stream:
                plain["weights"] = hashlib.file_digest(stream, "sha256").hexdigest()
        return plain

    def declared(self) -> Any:
        """The layout."""
        return [self.spec.modality, self.spec.layout.model_dump(mode="json")]

    def check(self) -> None:
        """Refuse data sets without classes.

        Raises:
            UsageError: says what to declare.
        """
        if not self.classes:
            raise UsageError(
                f"the data set {self.spec.name} has no slides or bags with classes",
                f"its layout is '{self.spec.layout.kind}'",
                "declare them in its data spec, e.g. layout: {kind: slides, table: labels.csv, "
                "classes: [normal, tumour]}",
            )
