"""Headers of text, of NRRD and MetaImage: words, units of length, and the data they name."""

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import TypeVar

from medssl.data.blocks import unreadable
from medssl.errors import DataError

LONGEST = 2**20
"""Bytes that a header may have."""

_LENGTHS = {
    1.0: ("", "?", "???", "mm", "millimeter", "millimetre"),
    10.0: ("cm", "centimeter", "centimetre"),
    1000.0: ("m", "meter", "metre"),
    1e-3: ("um", "µm", "\N{GREEK SMALL LETTER MU}m", "micron", "micrometer", "micrometre"),
    1e-6: ("nm", "nanometer", "nanometre"),
}
"""Names of units by what they measure in mm; where none is given, millimetres are meant."""

Word = TypeVar("Word")


def millimetres(path: Path, unit: str) -> float:
    """Millimetres in one `unit`.

    Raises:
        DataError: `unit` is no unit of length.
    """
    plain = unit.strip().lower()
    for size, names in _LENGTHS.items():
        if plain in names or (len(plain) > 3 and plain.removesuffix("s") in names):
            return size
    raise DataError(
        f"{path} gives lengths in '{shown(unit)}'",
        "that is no unit of length",
        "write mm, cm, m or um into its header, whichever is true",
    )


def beside(header: Path, name: str) -> Path:
    """The data file `name` of a header, which must lie beside it.

    Raises:
        DataError: it lies elsewhere, is a list or a pattern of files, or is not there.
    """
    if name.upper().startswith("LIST") or "%" in name:
        raise DataError(
            f"{header} spreads its data over several files",
            "only headers with one data file are read",
            "convert it to one file, e.g. .nrrd, .mha or .nii.gz",
        )
    if not name or PureWindowsPath(name).name != name or name == "..":
        raise DataError(
            f"{header} names data elsewhere, '{shown(name)}'",
            "a header may only name a file beside it",
            "put the data file beside the header, and name it there without a folder",
        )
    data = header.parent / name
    if not data.is_file():
        raise DataError(
            f"{header} has no data",
            f"'{shown(name)}', which it names, does not lie beside it",
            "copy both files to one folder",
        )
    return data


def whole_numbers(path: Path, key: str, value: str) -> tuple[int, ...]:
    """The integers in a line of a header.

    Raises:
        DataError: a word of the line is no integer.
    """
    try:
        return tuple(int(word) for word in value.split())
    except ValueError as error:
        raise unreadable(path, f"its {key} are '{shown(value)}'") from error


def whole_number(path: Path, key: str, value: str) -> int:
    """The single integer in a line of a header.

    Raises:
        DataError: the line holds no integer, or several.
    """
    found = whole_numbers(path, key, value)
    if len(found) != 1:
        raise unreadable(path, f"its {key} is '{shown(value)}'")
    return found[0]


def known(path: Path, key: str, word: str, choices: Mapping[str, Word]) -> Word:
    """The meaning of a word of a header.

    Raises:
        DataError: the word is missing, or is not among `choices`.
    """
    if word not in choices:
        raise DataError(
            f"{path} cannot be read",
            f"its header gives the {key} '{shown(word)}'"
            if word
            else f"its header lacks the {key}",
            "convert it to .nii.gz",
        )
    return choices[word]


def shown(text: str) -> str:
    """Words of a header as a message may quote them: one line, and short."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= 60 else f"{plain[:57]}..."
