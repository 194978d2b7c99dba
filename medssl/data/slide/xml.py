"""XML from files of users: without document types and entities, which can exhaust memory."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from medssl.errors import DataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_FORBIDDEN = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


def parse_xml(raw: bytes, path: Path, what: str) -> "Element":
    """The root of a document.

    Args:
        raw: the document.
        path: of the file that holds it, for messages.
        what: what it is for, e.g. "outlines".

    Raises:
        DataError: it is broken, or declares a document type or entities.
    """
    from xml.etree import ElementTree

    if _FORBIDDEN.search(raw.replace(b"\0", b"")):  # UTF-16 hides them between zeros
        raise DataError(
            f"{path} declares a document type or entities",
            f"{what} need none, and entities can be made to exhaust memory",
            "export the file again",
        )
    try:
        return ElementTree.fromstring(raw)  # noqa: S314 (entities are refused above)
    except (LookupError, ValueError, ElementTree.ParseError) as error:
        raise DataError(f"{path} cannot be read as XML", str(error)) from error
