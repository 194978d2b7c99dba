"""A pipeline file, its method's settings and its data spec as one typed object.

Free of torch, so that a wrong key is refused at once.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from medssl.data.spec import DataSpec, load_spec
from medssl.errors import UsageError
from medssl.methods.registry import method_names, settings_class
from medssl.methods.settings import MethodSettings
from medssl.mistakes import mistake, nearest
from medssl.overrides import apply_override
from medssl.pipeline.files import find_pipeline, read_mapping
from medssl.section import MOST
from medssl.settings import MethodChoice, Pipeline, PipelineFile
from medssl.train.description import weights_hash

Model = TypeVar("Model", bound=BaseModel)
AnyPipeline = TypeVar("AnyPipeline", bound=PipelineFile)

CLASSIFIED = {"slides": "slide", "bags": "slide", "planted": "slide", "radiographs": "grade"}
"""Layouts whose cases have a class each and no mask, and the family of methods for them."""

WITHOUT_EFFECT: dict[str, set[str]] = {
    "train": {"log_every", "checkpoint_every", "threads", "device"},
    "network": {"checkpointing"},
    "predict": {"window_batch", "format"},
}
"""Keys that say how, not what, is computed; they are left out of hashes."""


@dataclass(frozen=True)
class RunConfig(ABC, Generic[AnyPipeline]):
    """What one run does, of whichever family; complete and checked.

    Attributes:
        without_effect: keys by section that say how, not what, is computed; they are left out of
            hashes.
    """

    without_effect: ClassVar[Mapping[str, set[str]]]

    pipeline: AnyPipeline
    method: MethodSettings
    spec: DataSpec

    @abstractmethod
    def declared(self) -> Any:
        """What the data spec declares that influences results, as plain values."""

    def resolved(self) -> dict[str, Any]:
        """Everything as plain values; itself a valid pipeline file."""
        plain: dict[str, Any] = self.pipeline.model_dump(mode="json", exclude={"method"})
        plain["method"] = self._method()
        return plain

    def flat(self) -> dict[str, Any]:
        """`resolved` as "section.key" to value, for the tracker."""
        return flatten(self.resolved())

    def hash(self, *sections: str) -> str:
        """8 hex characters over sections of the pipeline; "data" is what `declared` says."""
        return digest([self._section(section) for section in sections])

    def _section(self, section: str) -> Any:
        if section == "method":
            return self._method()
        if section == "data":
            return self.declared()
        value = getattr(self.pipeline, section)
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json", exclude=self.without_effect.get(section))
        return value

    def _method(self) -> dict[str, Any]:
        return {"name": self.pipeline.method.name, **self.method.model_dump(mode="json")}


class Config(RunConfig[Pipeline]):
    """What one run of segmentation does.

    In `hash`, the section "pretrain" is the encoder that training starts from, and how it is
    fine-tuned; UsageError or DataError where its checkpoint cannot be read.
    """

    without_effect = WITHOUT_EFFECT

    def declared(self) -> Any:
        """Images and labels."""
        spec = self.spec
        return [spec.modality, spec.channels, spec.classes, spec.label_values]

    def _section(self, section: str) -> Any:
        return self._start() if section == "pretrain" else super()._section(section)

    def _start(self) -> list[Any] | None:
        """The encoder by its weights, wherever they lie, and how it is used; None without one."""
        choice = self.pipeline.pretrain
        if choice is None:
            return None
        used = [choice.matched, choice.channels, self.pipeline.fine_tune.model_dump(mode="json")]
        return [weights_hash(choice.folder), *used]


def digest(value: Any) -> str:
    """8 hex characters of the canonical JSON of a plain value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as "section.key" to value."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        inner = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def load_config(name_or_path: str, overrides: Sequence[str] = ()) -> Config:
    """The pipeline of that name or path, with `key.sub=value` overrides applied in order.

    Raises:
        UsageError: unknown pipeline, key, method or preset (names the nearest known one), or a
            value of the wrong kind.
    """
    plain = read_pipeline(name_or_path, overrides)
    spec = load_spec(plain["data"]) if isinstance(plain.get("data"), str) else None
    if spec is not None and spec.layout.kind in CLASSIFIED:
        wanted = CLASSIFIED[spec.layout.kind]
        refuse_family("segment", wanted, f"the data set {spec.name} holds {spec.layout.kind}")
    pipeline = validate(Pipeline, plain)
    check_patch(pipeline.train.patch, pipeline.network.side_multiple)
    _check_stride(pipeline)
    return Config(pipeline, method_settings(pipeline.method), spec or load_spec(pipeline.data))


def check_patch(patch: tuple[int, int, int], multiple: int) -> None:
    """Whether a network can take a patch, whose sides must be multiples of so many voxels.

    Raises:
        UsageError: it cannot; names the nearest one that it can take.
    """
    most = MOST // multiple * multiple
    fitting = [min(max(multiple, round(side / multiple) * multiple), most) for side in patch]
    if fitting != list(patch):
        rule = f"multiples of {multiple}" if multiple > 1 else "whole numbers"
        raise UsageError(
            f"train.patch={list(patch)} does not fit the network",
            f"its sides must be {rule} from {multiple} to {most} voxels",
            f"the nearest is train.patch={fitting}",
        )


def _check_stride(pipeline: Pipeline) -> None:
    patch, stride = pipeline.train.patch, pipeline.predict.stride
    fitting = [min(pair) for pair in zip(stride or patch, patch, strict=True)]
    if stride is not None and fitting != list(stride):
        raise UsageError(
            f"predict.stride={list(stride)} is longer than train.patch={list(patch)}",
            "windows would leave gaps between them",
            f"the nearest is predict.stride={fitting}",
        )


def read_pipeline(name_or_path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The pipeline as plain values, overrides applied, its method as a mapping.

    Raises:
        UsageError: unknown pipeline, one that extends what it cannot, or an override is not of the
            form key=value.
    """
    path = find_pipeline(name_or_path)
    plain = read_mapping(path)
    plain.setdefault("name", path.stem)
    for one in overrides:
        apply_override(plain, one)
    choice = plain.get("method")
    if isinstance(choice, str):
        plain["method"] = {"name": choice}
    return plain


def pipeline_family(name_or_path: str, overrides: Sequence[str] = ()) -> str:
    """The family of the method that a pipeline asks for; "segment" where it names none.

    Raises:
        UsageError: unknown pipeline or method.
    """
    method = read_pipeline(name_or_path, overrides).get("method")
    if not isinstance(method, Mapping) or "name" not in method:
        return "segment"
    return known_method(str(method["name"])).family


def refuse_family(given: str, wanted: str, why: str = "") -> NoReturn:
    """Refuse a method of another family than the stage, or the data, can be used with.

    Raises:
        UsageError: names the methods that would do.
    """
    fitting = [name for name in method_names() if settings_class(name).family == wanted]
    raise UsageError(
        f"the pipeline's method is of the family '{given}'",
        why or f"this stage trains methods of the family '{wanted}'",
        f"choose one of: {', '.join(fitting)}" if fitting else "none is installed",
    )


def validate(model: type[Model], plain: Mapping[str, Any], prefix: str = "") -> Model:
    """`plain` as a `model`; `prefix` is where it stands, with its final dot.

    Raises:
        UsageError: one sentence on the first key that is unknown, missing or of the wrong kind.
    """
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise mistake(model, plain, error, prefix) from None


def known_method(name: str) -> type[MethodSettings]:
    """The settings class of a method.

    Raises:
        UsageError: there is none of that name; names the nearest.
    """
    if name not in method_names():
        raise UsageError(f"no method is called '{name}'", do=nearest(name, method_names()))
    return settings_class(name)


def method_settings(choice: MethodChoice) -> MethodSettings:
    """The settings of the chosen method: its preset, the choice's own keys laid over it.

    Raises:
        UsageError: unknown method, preset or key, or a value of the wrong kind.
    """
    settings = known_method(choice.name)
    plain: dict[str, Any] = {}
    if choice.preset is not None:
        if choice.preset not in settings.presets:
            known = ", ".join(settings.presets) or "none"
            raise UsageError(
                f"{choice.name} has no preset '{choice.preset}'",
                do=nearest(choice.preset, list(settings.presets)) or f"its presets: {known}",
            )
        plain = dict(settings.presets[choice.preset])
    return validate(settings, _merged(plain, choice.own), "method.")


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `top` laid over it, mapping by mapping."""
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged
