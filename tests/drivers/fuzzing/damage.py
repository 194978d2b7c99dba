"""Damage that fits any file, and damage that keeps JSON, YAML and CSV what they are."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from numpy.random import Generator

Item = TypeVar("Item")
Place = tuple[Any, Any]

NOWHERE = Path("/nowhere")

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 10**7, 2**63, 0.5, -2.5, 1e308, math.nan, math.inf,
    "", " ", "x", "1", "nan", "ä\u2028b", "a\nb", "a\0b", "../x", f"{NOWHERE}/x", "a/b", "[b]x[/b]",
    "=1+1", "x" * 300, [], [[]], [1], [0, 0, 0], ["x", "x"], {}, {"a": 1}, {"x": {"y": []}},
)  # fmt: skip
"""Values that stand where another was expected."""


def pick(rng: Generator, items: Sequence[Item]) -> Item:
    """One of the items; unlike the generator's own choice, with its type."""
    return items[int(rng.integers(len(items)))]


def damage_bytes(path: Path, rng: Generator, start: int = 0) -> str:
    """Cut, overwritten, repeated, emptied, replaced or removed; bytes before `start` stay."""
    raw = path.read_bytes()
    at = int(rng.integers(start, max(start + 1, len(raw))))
    length = int(min(2 ** rng.integers(0, 12), max(1, len(raw) - at)))
    after = at + length
    changes: dict[str, Callable[[], bytes]] = {
        "cut": lambda: raw[:at],
        "cut short": lambda: raw[: max(start, len(raw) - length)],
        "bit": lambda: raw[:at] + bytes([raw[at] ^ 1 << int(rng.integers(8))]) + raw[at + 1 :],
        "zeroed": lambda: raw[:at] + bytes(length) + raw[after:],
        "junk": lambda: raw[:at] + rng.bytes(length) + raw[after:],
        "all ones": lambda: raw[:at] + b"\xff" * length + raw[after:],
        "dropped": lambda: raw[:at] + raw[after:],
        "repeated": lambda: raw[:after] + raw[at:],
        "inserted": lambda: raw[:at] + rng.bytes(length) + raw[at:],
        "appended": lambda: raw + rng.bytes(length),
        "empty": lambda: b"",
        "text": lambda: b"this is not the file you are looking for\n",
    }
    kind = pick(rng, [*changes, "cut", "bit", "zeroed", "junk", "gone", "folder"])
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "gone":
        path.write_bytes(changes[kind]() if raw else b"")
    return f"{path.name}: {kind} at {at} of {len(raw)}, {length} bytes"


def flip_bit(path: Path, rng: Generator, start: int = 0) -> str:
    """One bit at or after `start`."""
    raw = bytearray(path.read_bytes())
    at, bit = int(rng.integers(start, len(raw))), int(rng.integers(8))
    raw[at] ^= 1 << bit
    path.write_bytes(raw)
    return f"{path.name}: bit {bit} of byte {at} of {len(raw)} flipped"


def damage_tree(document: Any, rng: Generator) -> tuple[Any, str]:
    """A JSON-like value with one place replaced, removed, renamed or wrapped."""
    places = [*_places(document), (None, None)]
    container, key = pick(rng, places)
    odd = pick(rng, ODD)
    if container is None:
        kind = pick(rng, ("odd", "list", "rest"))
        return {"odd": odd, "list": [document], "rest": {"x": document}}[kind], f"root: {kind}"
    where = f"{_path(document, container)}{key}"
    kind = pick(rng, ("replace", "replace", "replace", "remove", "rename", "wrap", "repeat"))
    if kind == "replace":
        container[key] = odd
        return document, f"{where} = {odd!r:.60}"
    if kind == "wrap":
        container[key] = pick(rng, ([container[key]], {"x": container[key]}, [container[key]] * 2))
        return document, f"{where} wrapped: {container[key]!r:.60}"
    value = container.pop(key)
    if kind == "rename":
        name = pick(rng, ("x", "", "a/b", f"{key} ", str(key).upper(), "-1", "9" * 30))
        if isinstance(container, dict):
            container[name] = value
        return document, f"{where} renamed {name!r}"
    if kind == "repeat" and isinstance(container, list):
        container += [value, value]
    return document, f"{where}: {kind}"


def damage_json(path: Path, rng: Generator) -> str:
    """A JSON file with one value changed, or one time in five with damaged bytes.

    What follows the document, such as a checksum, stays.
    """
    if rng.random() < 0.2:
        return damage_bytes(path, rng)
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    plain, end = json.JSONDecoder().raw_decode(text)
    document, words = damage_tree(plain, rng)
    changed = json.dumps(document, indent=1) + text[end:]
    path.write_bytes(changed.encode("utf-8", errors="surrogateescape"))
    return f"{path.name}: {words}"


def damage_yaml(path: Path, rng: Generator) -> str:
    """A YAML file with one value changed, or one time in five with broken text."""
    if rng.random() < 0.2:
        lines = path.read_text(encoding="utf-8").splitlines()
        at = int(rng.integers(len(lines)))
        odd = pick(rng, ("\tx: 1", "[", "}", "x: *y", "x: &a [*a]", "? {}", "!!python/name:os.sep",
                         "title: 1", "- 1", ": :", "<<: 3", "\x00", "2020-99-99: 1",
                         "%YAML 9"))  # fmt: skip
        lines.insert(at, odd)
        path.write_text("\n".join(lines), encoding="utf-8")
        return f"{path.name}: line {at + 1} {odd!r}"
    document, words = damage_tree(yaml.safe_load(path.read_text(encoding="utf-8")), rng)
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), "utf-8")
    return f"{path.name}: {words}"


def damage_csv(path: Path, rng: Generator) -> str:
    """A table with a cell, a row or a column changed, or with damaged bytes."""
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    row, column = int(rng.integers(len(rows))), int(rng.integers(len(rows[0])))
    kind = pick(rng, ("cell", "cell", "cell", "head", "row", "twice", "column", "long", "bytes",
                      "delimiter", "utf16", "empty row", "no rows"))  # fmt: skip
    words = f"{path.name}: {kind}, row {row + 1}, column {column + 1}"
    if kind == "bytes":
        return damage_bytes(path, rng)
    if kind in ("cell", "head"):
        odd = str(pick(rng, [one for one in ODD if isinstance(one, str | int | float)]))
        rows[row if kind == "cell" else 0][column] = odd
        words += f" {odd!r:.40}"
    elif kind == "row":
        del rows[row]
    elif kind == "twice":
        rows.append(rows[row])
    elif kind == "column":
        rows = [one[:column] + one[column + 1 :] for one in rows]
    elif kind == "long":
        rows[row] = rows[row] * 3
    elif kind == "empty row":
        rows.insert(row, [""] * len(rows[0]))
    elif kind == "no rows":
        rows = rows[:1]
    text = io.StringIO()
    csv.writer(text, delimiter=";" if kind == "delimiter" else ",").writerows(rows)
    path.write_text(text.getvalue(), "utf-16" if kind == "utf16" else "utf-8", newline="")
    return words


def _places(value: Any) -> Iterator[Place]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _path(document: Any, container: Any) -> str:
    """Dotted keys down to `container`, for the message."""
    if document is container:
        return ""
    inner = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inner:
        if isinstance(value, dict | list):
            below = _path(value, container)
            if below or value is container:
                return f"{key}.{below}"
    return ""
