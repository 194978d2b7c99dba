"""The checkpoint that a user means by a package, a run, or a folder within it; free of torch."""

import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path

from medssl.atomic import appearing
from medssl.checksum import sha256_of
from medssl.environment import cache_root
from medssl.errors import DataError, UsageError
from medssl.names import some_of
from medssl.train.description import CHECKSUMS, DESCRIPTION, GUARD, WEIGHTS
from medssl.train.tracking import recall


def model_folder(given: Path) -> Path:
    """The folder of a checkpoint, with weights and description.

    Args:
        given: that folder; one above it, such as `runs/NAME/train-KEY` or its `checkpoint`; one of
            another stage of its run, such as `runs/NAME/run-KEY`; or a package, the .zip of
            `medssl export package`, which is unpacked into the cache.

    Raises:
        UsageError: there is no checkpoint, or several that could be meant.
        DataError: the package is damaged.
    """
    if given.is_file() and given.suffix.lower() == ".zip":
        return _unpacked(given)
    if (given / DESCRIPTION).is_file() or not given.is_dir():
        return given  # what is wrong with it is said by its reader
    for folder in (given / "checkpoint", given):
        if (folder / DESCRIPTION).is_file():
            return folder
        found = [one for one in ("last", "best") if (folder / one / DESCRIPTION).is_file()]
        if found:
            return folder / _chosen(folder / found[0], found)
    trained = sorted(path for path in given.glob("train-*") if (path / "checkpoint").is_dir())
    if len(trained) > 1:
        raise UsageError(
            f"{given} holds {len(trained)} trained models",
            some_of([path.name for path in trained]),
            f"name the one that is meant, e.g. {trained[-1]}",
        )
    return model_folder(trained[0]) if trained else _used_by(given)


def _used_by(stage: Path) -> Path:
    """The checkpoint that a stage of a run used; the folder itself where it used none."""
    told = recall(stage)
    used = [Path(os.path.normpath(stage / one)) for one in told["uses"]]
    if not used or told["model"]:  # what makes a model starts from those that it uses
        return stage
    if len(used) > 1:
        raise UsageError(
            f"{stage} used {len(used)} models", some_of([*map(str, used)]), "name the one meant"
        )
    if not (used[0] / DESCRIPTION).is_file():
        raise UsageError(
            f"{stage} has no model yet", f"{used[0]} is not there", "run it to its end first"
        )
    return used[0]


def _chosen(checkpoint: Path, names: list[str]) -> str:
    """Which of the checkpoints the run itself predicts with, as its description says."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        wanted = json.loads((checkpoint / DESCRIPTION).read_bytes())["predict"]["checkpoint"]
        if wanted in names:
            return str(wanted)
    return "best" if checkpoint.name == "best" else names[0]


def _unpacked(package: Path) -> Path:
    """The folder in a package, unpacked once; nothing but its known files is taken."""
    folder = cache_root() / "packages" / sha256_of(package)[:16]
    if (folder / DESCRIPTION).is_file():
        return folder
    try:
        with zipfile.ZipFile(package) as archive:
            members = {
                Path(one.filename).name: one
                for one in archive.infolist()
                if Path(one.filename).name in (WEIGHTS, DESCRIPTION, GUARD, CHECKSUMS)
            }
            if not members.keys() >= {WEIGHTS, DESCRIPTION}:
                raise UsageError(
                    f"{package} is no package of medssl",
                    f"it does not hold {DESCRIPTION} and {WEIGHTS}",
                    "name the .zip that `medssl export package` wrote, or a checkpoint folder",
                )
            with appearing(folder, first_wins=True) as beside:
                beside.mkdir()
                for name, member in members.items():
                    (beside / name).write_bytes(archive.read(member))
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{package} is damaged", str(error), "copy the package again") from error
    return folder
