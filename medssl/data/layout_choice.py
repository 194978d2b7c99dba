"""The key `layout` of data specs: how the files of a data set lie, with the keys of that kind."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from medssl.mistakes import mistake
from medssl.named_files import Layers
from medssl.names import is_no_path, shown
from medssl.section import Section

Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True)
class Source:
    """The files that a data spec is read from, or None; where it comes from makes it no other."""

    layers: Layers | None = field(default=None, compare=False)


class LayoutChoice(Section):
    """How files in a folder become cases: the name of a layout, as `kind`, and its own keys."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(
        description="how the files lie; its own keys stand beside it, see `medssl keys layout.KIND`"
    )
    sessions: bool = Field(
        default=False,
        description="cases are sessions, whose scans may be missing or lie on grids of their own; "
        "segmentation still refuses such a case; always so in nnssl and bids",
    )

    _source: Source = PrivateAttr(default_factory=Source)

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_normal(cls, given: Any) -> Any:
        """Earlier data specs had to say `unlabelled: true`; labels may always be missing."""
        if isinstance(given, Mapping) and isinstance(given.get("unlabelled"), bool):
            return {key: value for key, value in given.items() if key != "unlabelled"}
        return given

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        for text in texts_of(self.model_extra):
            if is_no_path(text):
                raise ValueError(f"{shown(text)} is too long or has a control character")
        return self

    def options(self, model: type[Options]) -> Options:
        """The keys that belong to the kind itself.

        Raises:
            UsageError: a key is unknown, missing or of the wrong kind.
        """
        return validated(model, dict(self.model_extra or {}), self._place)

    def _place(self, where: Sequence[str]) -> str:
        """The layout, and the file that a key of it stands in, in words."""
        layout = f"layout of kind {self.kind}"
        layers = self._source.layers
        if layers is None:
            return layout
        return f"{layout} in the data spec {layers.file_of(['layout', *where])}"


def texts_of(plain: Any) -> Iterator[str]:
    """Every text in plain values, keys too."""
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, Mapping):
        for key, value in plain.items():
            yield str(key)
            yield from texts_of(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from texts_of(value)


def validated(
    model: type[Options], plain: dict[str, Any], where: str | Callable[[Sequence[str]], str]
) -> Options:
    """Plain values as settings.

    Raises:
        UsageError: a key is unknown, missing or of the wrong kind; says in words where it stands.
    """
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise mistake(model, plain, error, place=where) from None
