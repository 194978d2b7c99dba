"""A pipeline file, its method's settings and its data spec as one typed object.

Free of torch, so that a wrong key is refused at once.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from medssl.data.layouts import layout_of
from medssl.data.spec import DataSpec, load_spec
from medssl.encoder_source import EncoderSource
from medssl.errors import UsageError
from medssl.methods.registry import implementation, method_names, settings_class
from medssl.methods.settings import MethodSettings
from medssl.named_files import PIPELINES
from medssl.pipeline.family import Family, InitialEncoder, family_names, find_family
from medssl.pipeline.sections import Place, known_method, method_settings, validate
from medssl.pipeline.start import with_import
from medssl.section import digest
from medssl.settings import PipelineFile

AnyPipeline = TypeVar("AnyPipeline", bound=PipelineFile)


@dataclass(frozen=True)
class Config(ABC, Generic[AnyPipeline]):
    """What one run does, of whichever family; complete and checked.

    Attributes:
        file: the sections of its pipeline file.
        about: what pipelines of this type do, after "pipelines that".
        kind: tells types of one family apart.
        reads: what the cases of its data sets can be, see `medssl.data.layouts`.
        without_effect: keys by section that say how, not what, is computed; they are left out of
            hashes.
        without_mark: keys by section that came later, with the value that is as before them; with
            it they are left out of hashes, so that earlier runs are found.
        specs: of its data sets; one, but for pre-training.
        given: the keys of its file and of the files below, and of the command line, as plain
            values; what is not among them has its default, or is planned.
        settled: whether a plan is among them.
    """

    file: ClassVar[type[PipelineFile]]
    about: ClassVar[str]
    kind: ClassVar[str] = ""
    reads: ClassVar[frozenset[str]]
    without_effect: ClassVar[Mapping[str, set[str]]] = {
        "train": {
            *("log_every", "checkpoint_every", "checkpoint_epochs", "threads", "device"),
            *("workers", "augment_on", "accumulate", "checkpointing", "sharded"),
            "compile",
        }
    }
    without_mark: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    pipeline: AnyPipeline
    method: MethodSettings
    specs: tuple[DataSpec, ...]
    given: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    settled: bool = False

    @property
    def family(self) -> Family:
        """What carries it out."""
        return find_family(self.method.family)

    @property
    def spec(self) -> DataSpec:
        """The data spec; of several, the first."""
        return self.specs[0]

    @property
    def initial(self) -> InitialEncoder | None:
        """How it starts from a pre-trained encoder; None: it never does."""
        return self.family.initial_encoder

    @property
    def start(self) -> EncoderSource | None:
        """The pre-trained encoder that it starts from."""
        if self.initial is None:
            return None
        found: EncoderSource | None = getattr(self.pipeline, "pretrain", None)
        return found

    @property
    @abstractmethod
    def label(self) -> str:
        """The run in a few words, e.g. "METHOD, 8 labels, seed 0"."""

    @property
    def last_step(self) -> int:
        """The step under which scores of the finished run are logged."""
        return int(getattr(self.pipeline.train, "steps", 1))

    @abstractmethod
    def declared(self) -> Any:
        """What the data specs declare that influences results, as plain values."""

    @classmethod
    def brings(cls, given: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
        """Sections that an imported encoder decides, as plain values.

        Args:
            given: the pipeline's keys.
            trained: the encoder's description.
        """
        return {}

    @property
    def is_planned(self) -> bool:
        """Whether no key waits for a plan; until then nothing is checked that depends on one."""
        return True

    def check(self) -> None:
        """Refuse settings that do not fit each other, the method or the data set.

        Raises:
            UsageError: names the key to change.
        """

    def build(self, task: Any) -> Any:
        """The method with freshly initialised networks, for a task of its family."""
        return implementation(self.method)(self.method, task, self.pipeline.seed)

    def must_fit(self, trained: Any, what: str) -> None:
        """Refuse a pre-trained encoder to start from that the run cannot take.

        Args:
            trained: the section of what trained it that describes it, as `initial_encoder` says.
            what: it is, in words.

        Raises:
            UsageError: names the keys to set.
        """

    def resolved(self) -> dict[str, Any]:
        """Everything as plain values; itself a valid pipeline file."""
        plain: dict[str, Any] = self.pipeline.model_dump(mode="json", exclude={"method"})
        return plain | {"method": self.method_values()}

    def method_values(self) -> dict[str, Any]:
        """The method's name and every setting of it."""
        return {"name": self.pipeline.method.name, **self.method.model_dump(mode="json")}

    def provenance(self) -> dict[str, Any]:
        """What a checkpoint says of where it is from: method, paper, data set and code."""
        from medssl.train.checkpoint import DataCard
        from medssl.train.fingerprint import code_version

        told = {"method": self.method_values(), "paper": self.method.paper}
        return {**told, "data": DataCard.of(self.spec), "code": code_version()}

    def hash(self, *sections: str) -> str:
        """8 hex characters over sections of the pipeline; "data" is what `declared` says."""
        return digest([self.section(name) for name in sections])

    def section(self, name: str) -> Any:
        """One section as it enters hashes."""
        if name == "method":
            return self.method_values()
        if name == "data":
            return self.declared()
        value = getattr(self.pipeline, name)
        if not isinstance(value, BaseModel):
            return self.pipeline.model_dump(mode="json", include={name})[name]
        plain = value.model_dump(mode="json", exclude=self.without_effect.get(name))
        for key, before in self.without_mark.get(name, {}).items():
            if plain.get(key) == before:
                del plain[key]
        initial, weights = self.initial, Path(getattr(value, "weights", None) or "")
        if initial is not None and name == initial.part and weights.is_file():
            # By content, wherever the file lies; a missing one is refused when it is loaded.
            with weights.open("rb") as stream:
                plain["weights"] = hashlib.file_digest(stream, "sha256").hexdigest()
        return plain


def pipeline_names() -> list[str]:
    """Names of the pipelines here and of those shipped; studies are not among them."""
    return [name for name in PIPELINES.names() if not name.endswith("_study")]


def flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as "section.key" to value."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        inner = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def load_config(name_or_path: str, overrides: Sequence[str] = ()) -> Config[Any]:
    """The pipeline of that name or path, with `key.sub=value` overrides applied in order.

    Raises:
        UsageError: unknown pipeline, key, method or preset (names the nearest known one), a value
            of the wrong kind, or a data set that the method cannot learn from.
    """
    keys = PIPELINES.read(name_or_path, overrides)
    plain = keys.plain
    choice = plain.get("method")
    if isinstance(choice, str):
        plain["method"] = {"name": choice}
    data = plain.get("data")
    names = data if isinstance(data, list) else [data]
    specs = tuple(load_spec(name) for name in names if isinstance(name, str))
    chosen = _method_of(plain, specs)
    method = known_method(chosen, keys.place(["method", "name"]))
    kind = find_family(method.family).config(method)
    plain = with_import(plain, kind.brings)
    for spec in specs:
        _must_be_readable(kind, chosen, spec)
    pipeline = validate(kind.file, {"method": {"name": chosen}, **plain}, place=keys.place)
    settings = method_settings(pipeline.method, lambda where: keys.place(["method", *where]))
    config: Config[Any] = kind(pipeline, settings, specs, plain)
    if config.is_planned:
        try:
            config.check()
            config.method.must_fit(config)
        except UsageError as error:
            raise _placed(error, keys.place) from None
    return config


def _placed(error: UsageError, place: Place) -> UsageError:
    """The mistake, with the file of the key that it begins with, if one holds it."""
    key = re.match(r"\w+(\.\w+)+(?==)", error.what)
    where = place(key.group().split(".")) if key else ""
    return UsageError(f"{error.what} ({where})" if where else error.what, error.why, error.do)


def refuse_without_encoder(config: Config[Any]) -> None:
    """Refuse a pipeline that trains no encoder for others to start from.

    Raises:
        UsageError: it trains something else.
    """
    if not config.family.trains_encoders:
        raise UsageError(
            f"the pipeline {config.pipeline.name} trains no encoder for others to start from",
            f"its method {config.pipeline.method.name} is of the family '{config.family.name}'",
            "name a pipeline that pre-trains, or use `medssl train`",
        )


def evaluating_family(spec: DataSpec) -> Family:
    """The family that has scores for the cases of a data set.

    Raises:
        UsageError: there is none.
    """
    content = layout_of(spec).content
    for name in family_names():
        family = find_family(name)
        if content in family.configs[0].reads:
            return family
    raise UsageError(f"nothing can be evaluated on {spec.name}", f"it holds {content}")


def _method_of(plain: Mapping[str, Any], specs: Sequence[DataSpec]) -> str:
    """The method that a pipeline names; else the usual one for its data."""
    choice = plain.get("method")
    if isinstance(choice, Mapping) and isinstance(choice.get("name"), str):
        return str(choice["name"])
    family = evaluating_family(specs[0]) if specs else find_family(family_names()[0])
    return str(family.configs[0].file.model_fields["method"].get_default().name)


def _must_be_readable(kind: type[Config[Any]], method: str, spec: DataSpec) -> None:
    """Refuse a data set whose cases the pipeline's method cannot learn from."""
    content = layout_of(spec).content
    if content in kind.reads:
        return
    classes = {name: settings_class(name) for name in method_names()}
    fitting = [
        name
        for name, other in classes.items()
        if content in find_family(other.family).config(other).reads
    ]
    raise UsageError(
        f"the method {method} learns from {' or '.join(sorted(kind.reads))}",
        f"the data set {spec.name} holds {content}",
        "name another data set"
        + (f", or a method for this one: {', '.join(fitting)}" if fitting else ""),
    )
