"""The JSON beside the weights of a checkpoint, as plain values, and their checksums; free of torch.

So a wrong folder is refused at once. The checksums have the form of `sha256sum`, which can check
them too; checkpoints of earlier versions have none and are taken as they are.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from medssl.errors import DataError, UsageError

WEIGHTS, DESCRIPTION, CHECKSUMS = "weights.safetensors", "checkpoint.json", "SHA256SUMS"

GUARD = "guard.safetensors"
"""What the training scans are like; checkpoints of earlier versions have none."""


DECODER = "decoder.safetensors"
"""Weights of a decoder that was trained with an encoder and fits other networks too; most have
none."""


def checksums(folder: Path) -> str:
    """The content of the file of checksums for a complete checkpoint folder."""
    every = (WEIGHTS, DESCRIPTION, GUARD, DECODER)
    names = [name for name in every if (folder / name).is_file()]
    return "".join(f"{_sha256(folder / name)}  {name}\n" for name in names)


def description_of(folder: Path) -> dict[str, Any]:
    """The description as plain values, of whichever family.

    Raises:
        UsageError: the folder is no checkpoint.
        DataError: its description is damaged.
    """
    path = folder / DESCRIPTION
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        raise UsageError(
            f"{folder} is not a checkpoint",
            f"it has no {DESCRIPTION} with {WEIGHTS} beside it",
            "name a folder such as runs/NAME/train-.../checkpoint/last",
        )
    verified(folder, DESCRIPTION)
    try:
        plain = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be understood",
            "it is not JSON",
            "use the version of medssl that wrote it",
        ) from error
    if not isinstance(plain, dict):
        raise DataError(
            f"{path} cannot be understood",
            "it is no JSON object",
            "copy the checkpoint folder again, whole",
        )
    return plain


def checkpoint_family(folder: Path) -> str:
    """The family of the checkpoint: "segment", "slide", "grade" or "pretrain".

    Raises:
        UsageError, DataError: as `description_of`.
    """
    return str(description_of(folder).get("family", "segment"))


def weights_hash(folder: Path) -> str:
    """SHA-256 of the weights, as hex.

    Raises:
        UsageError, DataError: as `description_of`; also when the weights are damaged.
    """
    description_of(folder)
    return verified(folder, WEIGHTS)


def verified(folder: Path, name: str) -> str:
    """SHA-256 of a file of the checkpoint, compared with the checksums where there are any.

    Raises:
        DataError: it is another one.
    """
    found = _sha256(folder / name)
    try:
        lines = (folder / CHECKSUMS).read_bytes().splitlines()
    except FileNotFoundError:
        return found
    if f"{found}  {name}".encode() not in lines:
        raise DataError(
            f"{folder / name} is damaged",
            f"it is not the file whose SHA-256 is in {CHECKSUMS}",
            "copy the checkpoint folder again, whole, or train anew; delete "
            f"{CHECKSUMS} if you have changed the file yourself",
        )
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
