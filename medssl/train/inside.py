"""What a checkpoint holds, in lines for people: one of ours, a package, or a file of others."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.train.description import DESCRIPTION, WEIGHTS, description_of, weights_hash
from medssl.train.model_folder import model_folder

KINDS = {
    "segment": "segments volumes or images",
    "grade": "grades radiographs",
    "slide": "calls slides or bags",
    "volumes": "encodes volumes",
    "places": "matches places of bodies",
    "tiles": "encodes images",
    "pretrain": "encodes images",
}
"""What a checkpoint does, by `encodes`, else by its family."""

_HIDDEN = {
    *("format", "family", "encodes", "seen", "metrics", "data", "imported", "packages", "paper"),
    *("step", "code"),
}
"""Parts of a description that are told otherwise, or tell nothing to people."""


def inside(path: Path) -> str:
    """What is in a checkpoint's folder or package, or in a file or bundle that can be imported.

    Raises:
        UsageError, DataError: it is neither, or is damaged.
    """
    bundle = path.is_dir() and (path / "models").is_dir()
    if bundle or (path.is_file() and path.suffix.lower() != ".zip"):
        return _foreign(path)
    folder = model_folder(path)
    plain = description_of(folder)
    return "\n".join([*_described(folder, plain), *_weights(folder)])


def _described(folder: Path, plain: Mapping[str, Any]) -> Iterator[str]:
    kind = str(plain.get("encodes") or plain.get("family", "segment"))
    yield f"{folder}: {KINDS.get(kind, f'of the family {kind}')}"
    if isinstance(imported := plain.get("imported"), Mapping):
        yield from _imported(imported)
    if isinstance(seen := plain.get("seen"), Sequence) and seen:
        yield f"learnt from {len(seen)} patients"
    data = plain.get("data")
    for one in data if isinstance(data, list) else [data]:
        if isinstance(one, Mapping) and not imported:
            yield f"data: {one.get('name')}; licence: {one.get('licence')}; {one.get('citation')}"
    if plain.get("paper") and not imported:
        yield f"paper: {plain['paper']}"
    for key, value in plain.items():
        if key not in _HIDDEN and value not in (None, [], {}, "", 0):
            yield f"{key}: {_shown(value)}"
    if isinstance(numbers := plain.get("metrics"), Mapping) and numbers:
        told = (f"{k} {v:.4g}" for k, v in numbers.items() if isinstance(v, int | float))
        yield f"metrics: {', '.join(told)}"


def _imported(card: Mapping[str, Any]) -> Iterator[str]:
    yield f"imported: {card.get('title')} (family {card.get('family')}), exact"
    yield f"features of: {card.get('original')}"
    yield f"licence: {card.get('licence')}{_commerce(card.get('commerce'))}"
    yield f"please cite: {card.get('citation')}"
    yield f"source: SHA-256 {card.get('sha256')}, {card.get('size')} bytes"
    if card.get("left_out"):
        yield f"left out of it: {', '.join(map(str, card['left_out']))}"
    if card.get("mpp"):
        yield f"microns per pixel: {card['mpp']}"
    if not card.get("images_known", True):
        yield "how its images were prepared is not known"


def _commerce(allowed: object) -> str:
    if allowed is None:
        return ""
    return "" if allowed else " (no commercial use)"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _weights(folder: Path) -> Iterator[str]:
    from safetensors import safe_open

    sha256 = weights_hash(folder)
    with safe_open(folder / WEIGHTS, "pt") as file:
        sizes = [_numbers(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    yield f"weights: {len(sizes)} tensors, {sum(sizes):,} numbers, SHA-256 {sha256}"
    yield f"all of it: {folder / DESCRIPTION}"


def _numbers(shape: Sequence[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def _foreign(path: Path) -> str:
    from medssl.train.imported import rebuilt

    found = rebuilt(path)
    plain = found.description.model_dump(mode="json")
    lines = list(_described(path, plain))[1:]
    return "\n".join([f"{path}: can be imported", *lines, f"weights: {found.report}"])
