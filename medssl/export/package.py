"""A checkpoint as one folder or zip file to hand on: weights, description, card; no pickle."""

import hashlib
import shutil
import zipfile
from pathlib import Path

from medssl.atomic import appearing
from medssl.errors import UsageError
from medssl.export.card import model_card
from medssl.train.checkpoint import load_checkpoint
from medssl.train.description import DESCRIPTION, WEIGHTS

CARD = "README.md"

# Zip files cannot say "no date"; a fixed one makes equal models equal files.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def export_package(checkpoint: Path, out: Path) -> None:
    """The verb: write a checkpoint with its card; it appears complete or not at all.

    The folder, or the folder in the zip, is itself a checkpoint. Equal checkpoints give equal
    bytes.

    Args:
        checkpoint: folder with weights and description.
        out: new folder; or, ending in .zip, a file that holds a folder of that name.

    Raises:
        UsageError: `checkpoint` is none, or `out` exists.
        DataError: the checkpoint is damaged.
    """
    _, found = load_checkpoint(checkpoint)
    if out.exists():
        raise UsageError(f"{out} exists already", "", "choose another name, or delete it")
    with (checkpoint / WEIGHTS).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    with appearing(out) as beside:
        if out.suffix.lower() == ".zip":
            _write_zip(checkpoint, model_card(found, digest), beside, out.stem)
        else:
            _write_folder(checkpoint, model_card(found, digest), beside)


def _write_folder(checkpoint: Path, card: str, folder: Path) -> None:
    folder.mkdir()
    for name in (WEIGHTS, DESCRIPTION):
        shutil.copyfile(checkpoint / name, folder / name)
    (folder / CARD).write_text(card, encoding="utf-8")


def _write_zip(checkpoint: Path, card: str, path: Path, folder: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in (WEIGHTS, DESCRIPTION):
            with (
                (checkpoint / name).open("rb") as source,
                archive.open(_member(folder, name), "w", force_zip64=True) as target,
            ):
                shutil.copyfileobj(source, target)
        archive.writestr(_member(folder, CARD), card)


def _member(folder: str, name: str) -> zipfile.ZipInfo:
    """Stored, not compressed: weights are noise to a compressor."""
    member = zipfile.ZipInfo(f"{folder}/{name}", _EPOCH)
    member.external_attr = 0o644 << 16
    return member
