"""The files of pipelines and studies."""

from pathlib import Path
from typing import Any

from medssl.named_files import NamedFiles

PIPELINES = NamedFiles("pipelines", "pipeline")


def find_pipeline(name_or_path: str) -> Path:
    """A path as it is, else ./pipelines/**/NAME.yaml, else the pipeline shipped with medssl.

    Raises:
        UsageError: there is none, and the nearest is named; or there are two.
    """
    return PIPELINES.find(name_or_path)


def pipeline_names() -> list[str]:
    """Names of the pipelines here and of those shipped; studies are not among them."""
    return [name for name in PIPELINES.names() if not name.endswith("_study")]


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys of a pipeline or a study, laid over those of the file that it extends.

    Raises:
        UsageError: a file is not YAML, not a mapping, or extends what it cannot.
    """
    return PIPELINES.layers(path).laid()
