"""Trained models and states: descriptions, weights, encoders of other makers, training states."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from safetensors.torch import load_file, save_file

from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import damage_bytes, damage_json, flip_bit, pick
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.trained import checkpoint, finished
from tests.drivers.toys import TOYS, write_nifti

FAMILIES = ("balls", "heads", "joints", "slides")
WEIGHTS, GUARD, SUMS = "weights.safetensors", "guard.safetensors", "SHA256SUMS"


def _make(place: Path) -> None:
    for family in FAMILIES:
        (place / family).mkdir()
        checkpoint(family, place / family)
    TOYS["heads"](place)
    TOYS["joints"](place)
    TOYS["slides"](place)
    rng = np.random.default_rng(0)
    write_nifti(place / "scan.nii.gz", rng.normal(100, 20, (12, 12, 12)).astype(np.float32))


def _damage(place: Path, rng: Generator) -> str:
    family = pick(rng, FAMILIES)
    folder = (place / family / "checkpoint").rename(place / "checkpoint")
    (place / "family").write_text(family)
    how = pick(rng, ("description", "description", "bit", "bit", "bytes", "tensor", "other"))
    guarded = how != "other" and (folder / GUARD).is_file() and rng.random() < 0.4
    weights = folder / (GUARD if guarded else WEIGHTS)
    if how in ("description", "tensor") and rng.random() < 0.7:
        # Past the checksums, where there are some: what is read must still be told.
        (folder / SUMS).unlink(missing_ok=True)
    if how == "description":
        words = damage_json(folder / "checkpoint.json", rng)
    elif how == "bit":
        words = flip_bit(weights, rng)
    elif how == "bytes":
        words = damage_bytes(weights, rng)
    elif how == "tensor":
        words = odd_tensor(weights, rng)
    else:
        other = pick(rng, [one for one in FAMILIES if one != family])
        shutil.copyfile(place / other / "checkpoint" / WEIGHTS, weights)
        words = f"weights of {other}"
    return f"{family}: {words}"


def odd_tensor(path: Path, rng: Generator) -> str:
    """One tensor of a whole file changed: not finite, of another shape, type or name, or gone."""
    tensors = load_file(path)
    name = pick(rng, sorted(tensors))
    kind = pick(rng, ("nan", "inf", "shape", "type", "name", "gone", "none", "more", "scalar"))
    old = tensors.pop(name)
    if kind in ("nan", "inf"):
        tensors[name] = torch.full_like(old.float(), float(kind))
    elif kind == "shape":
        tensors[name] = torch.cat([old.reshape(-1)] * 2)
    elif kind == "scalar":
        tensors[name] = torch.zeros(())
    elif kind == "type":
        tensors[name] = old.to(pick(rng, (torch.float16, torch.int64, torch.bool, torch.float64)))
    elif kind == "name":
        tensors[pick(rng, ("x", f"module.{name}", "", "a/b"))] = old
    elif kind == "none":
        tensors = {}
    elif kind == "more":
        tensors |= {name: old, "more": torch.ones(3)}
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return f"{name}: {kind}"


def _exercise(place: Path, base: Path) -> Iterable[Step]:
    family = (place / "family").read_text()
    trained = base / family / "checkpoint"
    whole = {path.name: path.read_bytes() for path in trained.glob("*.safetensors")}
    # Somebody who takes the checksums away may want other weights.
    taken_away = {path.name for path in (base / family / "checkpoint").iterdir()} - {
        path.name for path in (place / "checkpoint").iterdir()
    } == {SUMS}

    def noticed(*arguments: str) -> None:
        medssl(*arguments)
        if taken_away:
            return
        found = {
            path.name: path.read_bytes() for path in (place / "checkpoint").glob("*.safetensors")
        }
        if found != whole:
            raise Silent("damaged weights are taken for whole ones")

    subject = {"joints": "data/joints/train0.png", "slides": "data/toys/s0.tiff"}
    file = subject.get(family, "scan.nii.gz")
    sides = ("--set", "side=L") if family == "joints" else ()
    if family != "heads":
        yield "predict", lambda: noticed("predict", "checkpoint", file, "-o", "out", "-q", *sides)
    else:
        start = ("pretrain=checkpoint/", "train.steps=1", "network.width=2")
        yield "start", lambda: noticed("train", "masks", "-q", *start)
    if family == "balls":
        yield "package", lambda: noticed("export", "package", "checkpoint", "-o", "out/p.zip")


def _make_weights(place: Path) -> None:
    from medssl.networks.tile_encoder import build_tile_encoder

    network = build_tile_encoder(_tile_settings(), seed=1)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, place / "a.safetensors")
    torch.save(tensors, place / "b.pth")
    torch.save({"teacher": {f"module.backbone.{k}": v for k, v in tensors.items()}}, place / "c.pt")


def _tile_settings() -> Any:
    from medssl.networks.tile_settings import TileEncoderSettings

    return TileEncoderSettings(name="vit_tiny", side=32)


def _damage_weights(place: Path, rng: Generator) -> str:
    path = place / pick(rng, ("a.safetensors", "b.pth", "c.pt"))
    (place / "subject").write_text(path.name)
    how = pick(rng, ("bytes", "tensor", "object"))
    if how == "bytes":
        return damage_bytes(path, rng)
    if how == "tensor":
        words = odd_tensor(place / "a.safetensors", rng)
        if path.suffix != ".safetensors":
            torch.save(load_file(place / "a.safetensors"), path)
        return f"{path.name}: {words}"
    document = pick(rng, ([], {}, [1], {"teacher": []}, {"state_dict": {"x": 1}},
                          {1: torch.ones(2)}, "x", torch.ones(3),
                          {"model": {"teacher": {"w": torch.ones(1)}}}, None))  # fmt: skip
    torch.save(document, path)
    return f"{path.name}: {document!r:.60}"


def _exercise_weights(place: Path, _: Path) -> Iterable[Step]:
    from medssl.networks.pretrained import load_pretrained
    from medssl.networks.tile_encoder import build_tile_encoder

    path = place / (place / "subject").read_text()
    network = build_tile_encoder(_tile_settings(), seed=0)
    yield "load", lambda: load_pretrained(network, path, 0.95)


def _make_state(place: Path) -> None:
    finished("balls", place)
    (stage,) = (place / "runs" / "balls").glob("train-*")
    (stage / "done.json").unlink()


def _damage_state(place: Path, rng: Generator) -> str:
    (path,) = (place / "runs" / "balls").glob("train-*/state.pt")
    how = pick(rng, ("bit", "bit", "bytes", "content"))
    if how == "bit":
        return flip_bit(path, rng)
    if how == "bytes":
        return damage_bytes(path, rng)
    kept = torch.load(path, weights_only=True)
    if not isinstance(kept, dict):
        return flip_bit(path, rng)
    key = pick(rng, sorted(kept))
    kind = pick(rng, ("gone", "text", "number", "list", "nan"))
    odd = {"text": "x", "number": -1, "list": [], "nan": float("nan")}
    kept.pop(key)
    if kind != "gone":
        kept[key] = odd[kind]
    torch.save(kept, path)
    return f"state.pt: {key} {kind}"


def _exercise_state(place: Path, base: Path) -> Iterable[Step]:
    (stage,) = (place / "runs" / "balls").glob("train-*")
    path, whole = stage / "state.pt", next((base / "runs" / "balls").glob("train-*/state.pt"))
    same = path.is_file() and path.read_bytes() == whole.read_bytes()

    def resume() -> None:
        gone = not path.exists()
        medssl("train", "balls", "train.steps=2", "-q")
        if not (same or gone) and path.read_bytes() != whole.read_bytes():
            raise Silent("a damaged state is taken for a whole one")

    yield "resume", resume
    yield "fresh", lambda: medssl("train", "balls", "train.steps=2", "-q", "--fresh")


FORMATS = (
    Format("checkpoint", _make, _damage, _exercise, weight=1.5),
    Format("weights", _make_weights, _damage_weights, _exercise_weights),
    Format("state", _make_state, _damage_state, _exercise_state),
)
