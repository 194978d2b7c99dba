"""The JSON beside the weights of a checkpoint, as plain values; free of torch.

So a wrong folder is refused at once.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from medssl.errors import DataError, UsageError

WEIGHTS, DESCRIPTION = "weights.safetensors", "checkpoint.json"


def description_of(folder: Path) -> dict[str, Any]:
    """The description as plain values, of whichever family.

    Raises:
        UsageError: the folder is no checkpoint.
        DataError: its description is not JSON.
    """
    path = folder / DESCRIPTION
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        raise UsageError(
            f"{folder} is not a checkpoint",
            f"it has no {DESCRIPTION} with {WEIGHTS} beside it",
            "name a folder such as runs/NAME/train-.../checkpoint/last",
        )
    try:
        plain: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(
            f"{path} cannot be understood",
            "it is not JSON",
            "use the version of medssl that wrote it",
        ) from error
    return plain


def checkpoint_family(folder: Path) -> str:
    """What the checkpoint does: "segment", "slide", "pretrain".

    Raises:
        UsageError, DataError: as `description_of`.
    """
    return str(description_of(folder).get("family", "segment"))


def weights_hash(folder: Path) -> str:
    """SHA-256 of the weights, as hex.

    Raises:
        UsageError, DataError: as `description_of`.
    """
    description_of(folder)
    with (folder / WEIGHTS).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
