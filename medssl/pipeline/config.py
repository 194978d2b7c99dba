"""A pipeline file, its method's settings and its data spec as one typed object.

Free of torch, so that a wrong key is refused at once.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

import medssl
from medssl.data.files import visible
from medssl.data.spec import DataSpec, load_spec
from medssl.errors import UsageError
from medssl.methods.registry import method_names, settings_class
from medssl.methods.settings import MethodSettings
from medssl.mistakes import mistake, nearest
from medssl.section import MOST
from medssl.settings import MethodChoice, Pipeline, PipelineFile, pretrain_keys
from medssl.train.description import weights_hash
from medssl.yaml_keys import parse_yaml, read_keys

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


NAMED = {"network", "encoder", "embedder", "slice_encoder", "optimiser"}
"""Parts that may be given by a name alone: `network=unet3d` is `network.name=unet3d`, so that the
other keys of the file stay."""

_CHOICES = {"method": {"name"}, "pretrain": {"checkpoint", "pipeline"}}
"""Parts that an override with one of these keys chooses anew, whatever the file has."""


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
        UsageError: unknown pipeline, or an override is not of the form key=value.
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


def apply_override(plain: dict[str, Any], text: str) -> None:
    """Set one `key.sub=value`, the value in YAML, in `plain`.

    `key={a: 1}` is `key.a=1`: keys lie over those that are there. A method, and an encoder to start
    from, are chosen as a whole; their keys belong to them.

    Raises:
        UsageError: `text` is not of that form.
    """
    key, equals, right = text.partition("=")
    *parents, last = key.split(".")
    if not equals or not all((*parents, last)):
        raise UsageError(f"'{text}' is not of the form key=value", do="write e.g. train.steps=500")
    value = parse_yaml(right, f"the value of '{text}'")
    place = plain
    for part in parents:
        # A copy: YAML anchors may let two keys share one mapping.
        place[part] = _as_keys(part, place.get(part))
        place = place[part]
    if last in NAMED and isinstance(value, str) and isinstance(place.get(last), dict):
        value = {"name": value}
    if isinstance(value, dict) and not (_CHOICES.get(last, set()) & value.keys()):
        value = _merged(_as_keys(last, place.get(last)), value)
    place[last] = value


def _as_keys(part: str, given: Any) -> dict[str, Any]:
    """A copy of the keys of a part, also of one that is given by its name alone."""
    if isinstance(given, str):
        return pretrain_keys(given) if part == "pretrain" else {"name": given}
    return dict(given) if isinstance(given, dict) else {}


def find_pipeline(name_or_path: str) -> Path:
    """A path as it is, else ./pipelines/NAME.yaml, else the pipeline shipped with medssl.

    Raises:
        UsageError: there is none; names the nearest.
    """
    given = Path(name_or_path)
    if given.suffix in {".yaml", ".yml"}:
        if given.is_file():
            return given
        raise UsageError(f"there is no pipeline file {given}", do="check the path")
    for folder in _folders():
        if (folder / f"{name_or_path}.yaml").is_file():
            return folder / f"{name_or_path}.yaml"
    known = pipeline_names()
    raise UsageError(
        f"no pipeline is called '{name_or_path}'",
        do=nearest(name_or_path, known) or f"choose one of: {', '.join(known)}",
    )


def pipeline_names() -> list[str]:
    """Names of the pipelines here and of those shipped; studies are not among them."""
    files = (path for folder in _folders() for path in visible(folder))
    found = {path.stem for path in files if path.suffix == ".yaml"}
    return sorted(name for name in found if not name.endswith("_study"))


def _folders() -> tuple[Path, Path]:
    """The user's own pipelines, then the shipped: a wheel's, or those of the source tree."""
    package = Path(medssl.__file__).parent
    built = package / "_pipelines"
    return Path("pipelines"), built if built.is_dir() else package.parent / "pipelines"


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file of a pipeline or a study.

    Raises:
        UsageError: the file is not YAML or not a mapping.
    """
    return read_keys(path, "a pipeline")


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
