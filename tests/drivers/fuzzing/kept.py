"""What medssl keeps for itself: caches, run folders, journals, records of predictions."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import (
    damage_bytes,
    damage_csv,
    damage_json,
    damage_yaml,
    flip_bit,
    pick,
)
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.trained import checkpoint, finished
from tests.drivers.toys import TOYS


def _damage_file(path: Path, rng: Generator) -> str:
    """By the kind of the file, so that some of the damage is plausible."""
    if rng.random() < 0.3:
        return flip_bit(path, rng) if path.stat().st_size else damage_bytes(path, rng)
    kinds = {".json": damage_json, ".yaml": damage_yaml, ".csv": damage_csv, ".jsonl": damage_lines}
    return kinds.get(path.suffix, damage_bytes)(path, rng)


def damage_lines(path: Path, rng: Generator) -> str:
    """A journal with a line cut, changed, repeated or out of order."""
    lines = path.read_text().splitlines()
    at = int(rng.integers(len(lines)))
    kind = pick(rng, ("cut", "value", "text", "twice", "empty", "list", "bytes", "no end", "order"))
    if kind == "bytes":
        return damage_bytes(path, rng)
    if kind == "cut":
        lines[at] = lines[at][: int(rng.integers(len(lines[at])))]
    elif kind == "value":
        plain = json.loads(lines[at])
        key, odd = pick(rng, sorted(plain)), pick(rng, (None, "x", [], -1, 0.5, {}, True, 1e999))
        plain[key] = odd
        lines[at] = json.dumps(plain)
        kind = f"{key} = {odd!r}"
    elif kind == "twice":
        lines.insert(at, lines[at])
    elif kind == "order":
        lines.reverse()
    else:
        lines[at] = {"text": "x", "empty": "", "list": "[1]", "no end": lines[at]}[kind]
    path.write_text("\n".join(lines) + ("" if kind == "no end" else "\n"))
    return f"{path.name}: line {at + 1} {kind}"


def _make_cases(place: Path) -> None:
    finished("balls", place)
    shutil.rmtree(place / "runs")


def _damage_cases(place: Path, rng: Generator) -> str:
    files = sorted(path for path in (place / "cache").rglob("*") if path.is_file())
    return _damage_file(pick(rng, files), rng)


def _exercise_cases(place: Path, base: Path) -> Iterable[Step]:
    yield "open", lambda: _same_arrays(_cached("cache"), _cached(str(base / "cache")))


def _cached(root: str) -> list[np.ndarray]:
    """Images and masks of all cases, whatever the cache has to do for it."""
    from dataclasses import replace

    from medssl.data.cache import CaseCache
    from medssl.data.layouts import find_cases
    from medssl.pipeline.config import load_config

    config = load_config("balls", ["train.steps=2"])
    cache = CaseCache(Path(root), config.spec, config.pipeline.preprocess)
    found = []
    for case in find_cases(config.spec):
        for one in (case, replace(case, label=None)):
            kept = cache.open(one)
            mask = kept.mask
            floor = np.array([kept.floor, *kept.record.network.affine.ravel()])
            found += [np.array(kept.image), floor, np.zeros(0) if mask is None else np.array(mask)]
    return found


def _same_arrays(mine: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for one, other in zip(mine, wanted, strict=True):
        if one.dtype != other.dtype or not np.array_equal(one, other):
            raise Silent("a damaged cache entry is taken for a whole one")


def _make_crops(place: Path) -> None:
    finished("joints", place)
    shutil.rmtree(place / "runs")


def _exercise_crops(place: Path, base: Path) -> Iterable[Step]:
    def crops(root: Path) -> np.ndarray:
        from medssl.data.layouts import find_cases
        from medssl.data.radiograph.cache import cached_crops
        from medssl.pipeline.config import load_config

        config = load_config("joints")
        (folder,) = {path.parent for path in (base / "cache").rglob("*.npy")}
        kept = root / folder.relative_to(base / "cache")
        return np.array(cached_crops(find_cases(config.spec), config.pipeline.preprocess, kept))

    yield "crops", lambda: _same_arrays([crops(place / "cache")], [crops(base / "cache")])


RUN = ("run", "balls", "train.steps=2", "evaluate.overlays=0", "-q")


def _make_run(place: Path) -> None:
    finished("balls", place, RUN)


def _damage_run(place: Path, rng: Generator) -> str:
    """Any file but models and states; some stages are unfinished, as after a kill."""
    words = []
    if rng.random() < 0.6:
        for stage in ("evaluate", "predict", "run")[: int(rng.integers(1, 4))]:
            for path in (place / "runs").rglob(f"{stage}-*/done.json"):
                path.unlink()
                words.append(stage)
    files = [path for path in (place / "runs").rglob("*") if path.is_file()]
    apart = ("state.pt", "weights.safetensors", "checkpoint.json")
    path = pick(rng, sorted(path for path in files if path.name not in apart))
    damaged = _damage_file(path, rng)
    return (
        f"{path.parent.name.partition('-')[0]}/{damaged}, unfinished: {' '.join(words) or 'none'}"
    )


def _exercise_run(place: Path, base: Path) -> Iterable[Step]:
    # Only a prediction that was not done looks at its masks again.
    repeated = not list((place / "runs").rglob("predict-*/done.json"))
    yield "compare", lambda: medssl("compare", "balls")
    yield "run", lambda: medssl(*RUN)
    if repeated:
        yield "masks", lambda: _whole_masks(place / "runs", base / "runs")
    yield "compare again", lambda: medssl("compare", "balls")


def _whole_masks(mine: Path, wanted: Path) -> None:
    """Where prediction says that it is done, its masks are those that it made."""
    import nibabel

    for path in sorted(wanted.rglob("predict-*/*.nii.gz")):
        other = mine / path.relative_to(wanted)
        if not (other.parent / "done.json").is_file():
            continue
        try:
            same = np.array_equal(nibabel.load(path).dataobj, nibabel.load(other).dataobj)
        except Exception:
            same = False
        if not same:
            raise Silent(f"{path.name} is not the mask that was predicted, and counts as done")


def _make_prediction(place: Path) -> None:
    checkpoint("balls", place)
    TOYS["balls"](place)
    (place / "scans").mkdir()
    for name in ("c0", "c1"):
        shutil.copy(place / "data" / "balls" / f"{name}.nii.gz", place / "scans")
    medssl("predict", f"{place}/checkpoint", *_scans(place), "-o", f"{place}/out", "-q")


def _scans(place: Path) -> list[str]:
    return [str(path) for path in sorted((place / "scans").iterdir())]


def _damage_prediction(place: Path, rng: Generator) -> str:
    out = place / "out"
    if rng.random() < 0.5:
        return _damage_file(out / "prediction.json", rng)
    name = pick(rng, ("c0.nii.gz", "c1.nii.gz", "c0_entropy.nii.gz"))
    how = pick(rng, ("damage", "input", "truth", "other", "gone"))
    if how == "damage":
        return damage_bytes(out / name, rng)
    (out / name).unlink()
    other = {
        "input": "scans/c0.nii.gz",
        "truth": "data/balls/c0_seg.nii.gz",
        "other": "out/c1_entropy.nii.gz",
    }
    if how != "gone":
        shutil.copyfile(place / other[how], out / name)
    return f"{name}: {how}"


def _exercise_prediction(place: Path, base: Path) -> Iterable[Step]:
    def again() -> None:
        medssl("predict", "checkpoint", *_scans(place), "-o", "out", "-q")
        for name in ("c0.nii.gz", "c1.nii.gz"):
            if (place / "out" / name).read_bytes() != (base / "out" / name).read_bytes():
                raise Silent(f"{name} is not what was predicted, and counts as done")

    yield "again", again
    yield "evaluate", lambda: medssl("evaluate", "out", "--data", "balls", "-q")


def _make_journal(place: Path) -> None:
    stage = place / "runs" / "stage"
    stage.mkdir(parents=True)
    lines = [
        {"step": step, "time": 1.5 * step, "loss": 1 / step, "nan": None} for step in range(1, 9)
    ]
    (stage / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (stage / "tracking.json").write_text(
        json.dumps({"store": "http://127.0.0.1:9", "experiment": "e", "run_id": "r", "sent": 3})
    )


def _damage_journal(place: Path, rng: Generator) -> str:
    name = pick(rng, ("metrics.jsonl", "metrics.jsonl", "tracking.json"))
    return _damage_file(place / "runs" / "stage" / name, rng)


def _exercise_journal(place: Path, _: Path) -> Iterable[Step]:
    from medssl.evaluate.curves import draw_curves
    from medssl.train.jsonl_log import Journal, read_log

    path = place / "runs" / "stage" / "metrics.jsonl"
    yield "read", lambda: read_log(path)
    yield "curves", lambda: draw_curves([(one.step, one.values) for one in read_log(path)])
    yield "rewind", lambda: Journal(path).rewind(5)
    yield "append", lambda: _append(path)


def _append(path: Path) -> None:
    """What is written after the damage is read again."""
    from medssl.train.jsonl_log import Journal, read_log

    Journal(path).append(99, {"loss": 0.25})
    entries: list[Any] = read_log(path)
    if not entries or entries[-1].step != 99:
        raise Silent("an entry after a damaged line is lost")


FORMATS = (
    Format("case_cache", _make_cases, _damage_cases, _exercise_cases, weight=0.6),
    Format("crop_cache", _make_crops, _damage_cases, _exercise_crops, weight=0.6),
    Format("run_folder", _make_run, _damage_run, _exercise_run),
    Format("prediction", _make_prediction, _damage_prediction, _exercise_prediction),
    Format("journal", _make_journal, _damage_journal, _exercise_journal),
)
