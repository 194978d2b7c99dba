"""Names that stand for ids, and say nothing to whoever lacks the key.

A plain hash of a patient's id is the id: whoever guesses ids finds the one that fits.
"""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path

from medssl.atomic import make_folder
from medssl.environment import key_file
from medssl.errors import DataError

_BYTES = 32


class Key:
    """A random key in a file that only its owner reads, made where there is none.

    Raises:
        DataError: the file holds none.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            _make(path)
        self._secret = path.read_bytes()
        if len(self._secret) != _BYTES:
            raise DataError(
                f"{path} holds no key", "it was changed", "remove it, and a new one is made"
            )

    def name_of(self, kind: str, text: str, length: int = 32) -> str:
        """Hex characters that stand for a text of a kind, such as the UID of a study."""
        found = hmac.new(self._secret, f"{kind}\0{text}".encode(), hashlib.sha256)
        return found.hexdigest()[:length]

    @property
    def name(self) -> str:
        """8 hex characters that tell it from others."""
        return self.name_of("key", "", 8)


def own_key() -> Key:
    """The key of this user, by which studies, patients and places are named.

    Raises:
        DataError: its file holds none.
        MedsslError: it cannot be written.
    """
    return _read(key_file().absolute())


@cache
def _read(path: Path) -> Key:
    return Key(path)


def _make(path: Path) -> None:
    make_folder(path.parent)
    beside = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_BYTES))
    with suppress(FileExistsError):
        os.link(beside, path)  # the first of several wins
    beside.unlink()
