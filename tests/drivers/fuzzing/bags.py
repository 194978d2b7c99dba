"""Bags of instance features: NPZ containers and their arrays, CSV tables; checked and trained."""

import io
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.random import Generator

from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import damage_bytes, damage_csv, pick
from tests.drivers.fuzzing.format import Format, Step
from tests.drivers.toys import TOYS


def _make(place: Path) -> None:
    TOYS["slides"](place)
    with np.load(place / "data/toys/bags.npz") as file:
        arrays = dict(file)
    rows = [
        [str(arrays["y"][bag]), str(bag), *(f"{value:g}" for value in row)]
        for bag, row in zip(arrays["bag"], arrays["X"], strict=True)
    ]
    head = ["label", "bag", *(f"f{number}" for number in range(arrays["X"].shape[1]))]
    (place / "data/toys/bags.csv").write_text("\n".join(map(",".join, [head, *rows])) + "\n")


def _damage_npz(place: Path, rng: Generator) -> str:
    path = place / "data/toys/bags.npz"
    how = pick(rng, ("array", "array", "array", "bytes", "zip"))
    if how == "bytes":
        return damage_bytes(path, rng)
    with np.load(path) as file:
        arrays = dict(file)
    key = pick(rng, sorted(arrays))
    if how == "array":
        arrays[key], words = _odd_array(arrays[key], rng)
        if arrays[key] is None:
            del arrays[key]
        np.savez(path, **arrays)
        return f"{key}: {words}"
    kind = pick(
        rng, ("pickle", "text", "empty", "twice", "deflate64", "npy", "directory", "encrypted")
    )
    members = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
    if kind == "npy":
        np.save(path.with_suffix(".npy"), arrays["X"])
        path.with_suffix(".npy").rename(path)
        return "an array instead of a container"
    odd = {"pickle": pickle.dumps([1]), "text": b"text", "empty": b"", "directory": b""}
    members[f"{key}.npy"] = odd.get(kind, members[f"{key}.npy"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}/" if kind == "directory" else name, content)
    raw = path.read_bytes()
    at = raw.find(b"PK\x01\x02")
    patch = {"deflate64": (10, b"\x09\x00"), "encrypted": (8, b"\x01\x00")}.get(kind)
    if patch:
        path.write_bytes(raw[: at + patch[0]] + patch[1] + raw[at + patch[0] + 2 :])
    return f"{key}: zip member {kind}"


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _odd_array(array: np.ndarray, rng: Generator) -> tuple[np.ndarray | None, str]:
    """The array of another type, shape or value; None to leave it out."""
    kind = pick(rng, ("gone", "text", "object", "bool", "complex", "float", "scalar", "row", "deep",
                      "one", "none", "negative", "huge", "nan", "date", "unsigned", "longer",
                      "order", "record"))  # fmt: skip
    changed = {
        "gone": lambda: None,
        "text": lambda: array.astype(str),
        "object": lambda: array.astype(object),
        "bool": lambda: array.astype(bool),
        "complex": lambda: array.astype(complex) + 1j,
        "float": lambda: array.astype(np.float64) + 0.5,
        "scalar": lambda: np.asarray(array.flat[0]),
        "row": lambda: array.reshape(1, -1),
        "deep": lambda: array[..., None],
        "one": lambda: array[:1],
        "none": lambda: array[:0],
        "negative": lambda: -array - 1,
        "huge": lambda: array.astype(np.float64) * 1e300,
        "nan": lambda: np.where(np.arange(array.size).reshape(array.shape) == 1, np.nan, array),
        "date": lambda: array.astype(np.int64).astype("datetime64[s]"),
        "unsigned": lambda: (array.astype(np.int64) + 2**62).astype(np.uint64),
        "longer": lambda: np.concatenate([array, array[:1]]),
        "order": lambda: array[::-1],
        "record": lambda: np.zeros(len(array), [("a", "i4"), ("b", "f4")]),
    }
    return changed[kind](), kind


def _damage_table(place: Path, rng: Generator) -> str:
    (place / "data/toys/bags.npz").unlink()
    spec = place / "data_specs/bags.yaml"
    spec.write_text(spec.read_text().replace("bags.npz", "bags.csv"))
    return damage_csv(place / "data/toys/bags.csv", rng)


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    yield "check", lambda: medssl("data", "check", "bags", "-q")
    short = ("train.epochs=1", "split.folds=2", "evaluate.bootstrap=100")
    yield "train", lambda: medssl("train", "bags", "-q", *short)


NPZ = Format("npz", _make, _damage_npz, _exercise)
TABLE = Format("bag_table", _make, _damage_table, _exercise)
