"""Names that become files and folders: of cases, data sets, labels and pipelines."""

import re
import reprlib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import AfterValidator

LONGEST = 160
"""Bytes of a name; the rest of the 255 that file systems allow is for what is written around it."""

_LONGEST_PART, _LONGEST_PATH = 255, 4000  # bytes that file systems take
_FORBIDDEN = '/\\<>:"|?*'
_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{n}" for port in ("com", "lpt") for n in "123456789"
}


def unfit(name: str) -> str:
    """Why `name` cannot name a file on every disk, as part of a sentence; empty where it can."""
    reasons = (
        ("it is empty", not name),
        ("it starts with a dot", name.startswith(".")),
        ("it has a control character", has_control(name)),
        ("it starts or ends with a space, or ends with a dot", name.strip().rstrip(".") != name),
        (
            f"it has one of the characters {' '.join(_FORBIDDEN)}",
            any(c in name for c in _FORBIDDEN),
        ),
        (f"it is longer than {LONGEST} bytes", len(name.encode(errors="replace")) > LONGEST),
        ("Windows keeps it for a device", name.partition(".")[0].strip().lower() in _DEVICES),
    )
    return next((reason for reason, holds in reasons if holds), "")


def has_control(text: str) -> bool:
    """Whether a character of `text` cannot be printed: control codes, lone surrogates and such."""
    return not text.isprintable() and any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text
    )


def is_no_path(text: str) -> bool:
    """Whether no file can be at `text`, as a name in it is too long or not printable."""
    parts = [part.encode(errors="replace") for part in re.split(r"[/\\]", text)]
    return (
        max(map(len, parts)) > _LONGEST_PART
        or sum(map(len, parts)) > _LONGEST_PATH
        or has_control(text)
    )


def shown(value: object, longest: int = 60) -> str:
    """A name or another value for a message: as Python writes it, on one line and not too long."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = brief.maxlong = longest
    brief.maxlevel = 3
    try:
        text = brief.repr(value)
    except ValueError:  # of numbers with more digits than Python prints
        return "a huge number"
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first of some names for a sentence, e.g. "a, b, c and 4 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def printable(text: str) -> str:
    """`text` with what a terminal would obey, or cannot print, as Python writes it."""
    if text.isprintable():
        return text
    return "".join(c if not has_control(c) else ascii(c)[1:-1] for c in text)


def composed(name: str) -> str:
    """The name with each accented letter as one character: macOS writes letter and accent apart."""
    return unicodedata.normalize("NFC", name)


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Names that are one file where a disk does not tell capitals or accents apart, by pairs."""
    first: dict[str, str] = {}
    pairs = []
    for name in dict.fromkeys(names):
        other = first.setdefault(composed(name).casefold(), name)
        if other != name:
            pairs.append((other, name))
    return pairs


def _must_fit(name: str) -> str:
    if reason := unfit(name):
        raise ValueError(f"{shown(name)} cannot name a file: {reason}")
    return name


FileName = Annotated[str, AfterValidator(_must_fit)]
"""Of settings and data specs: a name that fits every disk."""
