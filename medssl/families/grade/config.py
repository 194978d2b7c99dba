"""What one run on radiographs does."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar

from medssl.data.classes import declared_classes
from medssl.errors import UsageError
from medssl.families.grade.settings import GradePipeline
from medssl.pipeline.config import Config


class GradeConfig(Config[GradePipeline]):
    """What one run on radiographs does, complete and checked."""

    file = GradePipeline
    about = "grade radiographs"
    reads = frozenset({"radiographs"})
    without_effect: ClassVar = {
        "train": {"log_every", "checkpoint_every", "threads", "device"},
        "predict": {"batch"},
    }

    @property
    def grades(self) -> tuple[str, ...]:
        """Names of the grades, in order."""
        return declared_classes(self.spec)

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "semixup, 5 labels per grade, seed 0"."""
        pipeline = self.pipeline
        labels = pipeline.split.labels or "all"
        return f"{pipeline.method.name}, {labels} labels per grade, seed {pipeline.seed}"

    def declared(self) -> Any:
        """The grades; who is who and what is where is hashed with the images themselves."""
        return list(self.grades)

    def section(self, name: str) -> Any:
        """As of every family; weights to start from count by content, wherever the file lies."""
        plain = super().section(name)
        weights = self.pipeline.network.weights
        if name == "network" and weights is not None and Path(weights).is_file():
            # A missing one is refused when it is loaded.
            with Path(weights).open("rb") as stream:
                plain["weights"] = hashlib.file_digest(stream, "sha256").hexdigest()
        return plain

    def check(self) -> None:
        """Refuse what the data spec does not offer for the settings.

        Raises:
            UsageError: says what to set.
        """
        pipeline, spec = self.pipeline, self.spec
        grades = declared_classes(spec)
        if pipeline.evaluate.disease_from >= len(grades):
            raise UsageError(
                f"evaluate.disease_from={pipeline.evaluate.disease_from} is no grade of "
                f"{spec.name}",
                f"its grades are {', '.join(grades)}, counted from 0",
                f"choose 1 to {len(grades) - 1}",
            )
        spacing = (spec.layout.model_extra or {}).get("spacing")
        if pipeline.crop.field is not None and spacing is None:
            raise UsageError(
                f"crop.field={pipeline.crop.field:g} asks for mm",
                f"the data spec {spec.name} declares no spacing",
                "set crop.field=null, or write `spacing: header` or mm per pixel under its layout",
            )
        network = pipeline.network
        if pipeline.crop.side < network.smallest_side:
            raise UsageError(
                f"crop.side={pipeline.crop.side} is too small for the network {network.name}",
                do=f"set it to at least {network.smallest_side}",
            )
