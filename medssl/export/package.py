"""A checkpoint as one folder or zip file to hand on: weights, description, card; no pickle."""

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from medssl.atomic import appearing
from medssl.errors import MedsslError, UsageError
from medssl.export.card import model_card
from medssl.train.checkpoint import load_checkpoint
from medssl.train.description import (
    CHECKSUMS,
    DESCRIPTION,
    GUARD,
    WEIGHTS,
    checksums,
    weights_hash,
)

CARD = "README.md"

# Zip files cannot say "no date"; a fixed one makes equal models equal files.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def export_package(checkpoint: Path, out: Path) -> None:
    """The verb: write a checkpoint with card and checksums; it appears complete or not at all.

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
    texts = {
        CARD: model_card(found, weights_hash(checkpoint)),
        CHECKSUMS: checksums(checkpoint),  # earlier versions wrote none
    }
    if out.suffix.lower() == ".zip":
        with appearing(out, _zip_is_whole, durable=True) as beside:
            _write_zip(checkpoint, texts, beside, out.stem)
    else:
        with appearing(out, weights_hash, durable=True) as beside:
            _write_folder(checkpoint, texts, beside)


def _files(checkpoint: Path) -> list[str]:
    """What is copied as it is."""
    return [name for name in (WEIGHTS, DESCRIPTION, GUARD) if (checkpoint / name).is_file()]


def _write_folder(checkpoint: Path, texts: Mapping[str, str], folder: Path) -> None:
    folder.mkdir()
    for name in _files(checkpoint):
        shutil.copyfile(checkpoint / name, folder / name)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _write_zip(checkpoint: Path, texts: Mapping[str, str], path: Path, folder: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in _files(checkpoint):
            with (
                (checkpoint / name).open("rb") as source,
                archive.open(_member(folder, name), "w", force_zip64=True) as target,
            ):
                shutil.copyfileobj(source, target)
        for name, text in texts.items():
            archive.writestr(_member(folder, name), text)


def _zip_is_whole(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise MedsslError(
                f"{path} is not whole", "what was written cannot be read", "try again"
            )


def _member(folder: str, name: str) -> zipfile.ZipInfo:
    """Stored, not compressed: weights are noise to a compressor."""
    member = zipfile.ZipInfo(f"{folder}/{name}", _EPOCH)
    member.external_attr = 0o644 << 16
    return member
