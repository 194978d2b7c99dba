"""The files of pipelines and studies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medssl.named_files import Layers, NamedFiles, depth_of
from medssl.overrides import apply_override

PIPELINES = NamedFiles("pipelines", "pipeline")


def pipeline_names() -> list[str]:
    """Names of the pipelines here and of those shipped; studies are not among them."""
    return [name for name in PIPELINES.names() if not name.endswith("_study")]


@dataclass(frozen=True)
class Keys:
    """The keys of a pipeline or of a study.

    Attributes:
        plain: all of them, as plain values.
        layers: the files that they stand in.
        overrides: those that were given beside the files.
        noun: what the file is, e.g. "pipeline".
    """

    plain: dict[str, Any]
    layers: Layers
    overrides: dict[str, Any]
    noun: str

    def place(self, where: Sequence[str]) -> str:
        """The file that the key at `where` stands in, in words; empty for one given beside them."""
        path = self.layers.file_of(where)
        inside = next(keys for file, keys in self.layers.files if file == path)
        if self.overrides and depth_of(self.overrides, where) >= depth_of(inside, where):
            return ""
        return f"{self.noun} {path}"


def read_keys(name_or_path: str, overrides: Sequence[str] = (), noun: str = "pipeline") -> Keys:
    """The keys of a pipeline or a study, laid over those of the file that it extends.

    Args:
        overrides: `key.sub=value`, applied in order.

    Raises:
        UsageError: there is no such file, one is not YAML, not a mapping, or extends what it
            cannot; or an override is not of the form key=value.
    """
    path = PIPELINES.find(name_or_path)
    layers = PIPELINES.layers(path)
    plain, beside = layers.laid(), dict[str, Any]()
    plain.setdefault("name", path.stem)
    for one in overrides:
        apply_override(plain, one)
        apply_override(beside, one)
    return Keys(plain, layers, beside, noun)
