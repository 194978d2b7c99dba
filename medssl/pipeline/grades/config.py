"""A pipeline of radiographs, its method's settings and its data spec as one typed object."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssl.data.classes import declared_classes
from medssl.data.spec import DataSpec, load_spec
from medssl.errors import UsageError
from medssl.pipeline.config import (
    CLASSIFIED,
    RunConfig,
    known_method,
    method_settings,
    read_pipeline,
    refuse_family,
    validate,
)
from medssl.pipeline.grades.settings import GradePipeline


class GradeConfig(RunConfig[GradePipeline]):
    """What one run does, complete and checked."""

    without_effect = {  # noqa: RUF012 - a ClassVar of the base
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

    def _section(self, section: str) -> Any:
        plain = super()._section(section)
        weights = self.pipeline.network.weights
        if section == "network" and weights is not None and Path(weights).is_file():
            # By content, wherever the file lies; a missing one is refused when it is loaded.
            with Path(weights).open("rb") as stream:
                plain["weights"] = hashlib.file_digest(stream, "sha256").hexdigest()
        return plain


def load_grade_config(name_or_path: str, overrides: Sequence[str] = ()) -> GradeConfig:
    """The pipeline of that name or path, with `key.sub=value` overrides applied in order.

    Raises:
        UsageError: unknown pipeline, key, method or preset, a value of the wrong kind, a method of
            another family, or a data set that does not fit.
    """
    plain = read_pipeline(name_or_path, overrides)
    spec = load_spec(plain["data"]) if isinstance(plain.get("data"), str) else None
    if spec is not None and CLASSIFIED.get(spec.layout.kind) != "grade":
        raise UsageError(
            f"the data set {spec.name} has no radiographs with grades",
            f"its layout is '{spec.layout.kind}'",
            "name a data spec with the layout 'radiographs', or choose a method that fits the data",
        )
    pipeline = validate(GradePipeline, plain)
    if (family := known_method(pipeline.method.name).family) != "grade":
        refuse_family(family, "grade")
    spec = spec or load_spec(pipeline.data)
    _check(pipeline, spec)
    return GradeConfig(pipeline, method_settings(pipeline.method), spec)


def _check(pipeline: GradePipeline, spec: DataSpec) -> None:
    """What the data spec must offer for the settings.

    Raises:
        UsageError: it does not.
    """
    grades = declared_classes(spec)
    if pipeline.evaluate.disease_from >= len(grades):
        raise UsageError(
            f"evaluate.disease_from={pipeline.evaluate.disease_from} is no grade of {spec.name}",
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
