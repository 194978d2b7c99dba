"""What an imported encoder, or a file of weights, means where a pipeline names it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medssl.encoder_source import pretrain_keys
from medssl.train.description import DESCRIPTION, description_of

Brings = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


def with_import(plain: Mapping[str, Any], brings: Brings) -> dict[str, Any]:
    """A pipeline's keys, where it starts from an imported encoder with what that decides.

    A file of weights is imported into the cache first.

    Args:
        brings: sections that an encoder decides, see `Config.brings`.

    Raises:
        UsageError, DataError: the file, or the encoder, cannot be read.
    """
    keys = dict(plain)
    given = keys.get("pretrain")
    choice = pretrain_keys(given) if isinstance(given, str) else given
    if not isinstance(choice, Mapping) or not isinstance(choice.get("checkpoint"), str):
        return keys
    folder = Path(choice["checkpoint"])
    if folder.is_file():
        from medssl.train.imported import kept  # imports torch

        folder = kept(folder)
    if not _is_imported(folder):
        return keys
    keys["pretrain"] = {**choice, "checkpoint": str(folder)}
    return keys | brings(keys, description_of(folder))


def _is_imported(folder: Path) -> bool:
    """Whether an encoder is from another project; what is wrong with a folder is said later."""
    try:
        return bool(json.loads((folder / DESCRIPTION).read_bytes()).get("imported"))
    except (OSError, ValueError, RecursionError, AttributeError):
        return False
