"""What a service is told when it starts."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from medssl.errors import DataError, UsageError

SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class ServeSettings:
    """Where a service listens, what it takes and how long it keeps it.

    Attributes:
        host, port: where it listens; port 0 is any that is free.
        work: folder of its journal: sent images, results, its key.
        token: what every request must bear; None: none need to.
        limit: bytes of a request, at most.
        queue: studies that wait, at most; of requests for a mask as many.
        settle_s: seconds without further images after which a study is complete.
        keep_h: hours after which a finished or failed study is removed.
        patience_s: seconds that a client may be silent.
        origins: web pages, such as OHIF's, that may ask.
    """

    host: str
    port: int
    work: Path
    token: str | None = None
    limit: int = 2**31
    queue: int = 100
    settle_s: float = 5.0
    keep_h: float = 24.0
    patience_s: float = 30.0
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse to be reachable for everybody.

        Raises:
            UsageError: others could reach it without a token, or its token is short.
        """
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                f"{self.host} can be reached by other machines, and no token is asked for",
                "whoever reaches it could send studies and read results",
                "give --token-file FILE, or leave out --host",
            )
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise UsageError(
                f"the token has fewer than {SHORTEST_TOKEN} characters",
                "it could be guessed",
                "make one with: openssl rand -hex 32",
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(path: Path) -> str:
    """The token in a file, its first line.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="ascii").strip().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} holds no token", "it cannot be read as text", "check the file"
        ) from error
