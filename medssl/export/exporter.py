"""Exporters of other packages: `medssl export NAME SOURCE --out OUT`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medssl.registry import EXPORTERS


@dataclass(frozen=True)
class Exporter:
    """What writes masks, a model or a run in the form of another program.

    Attributes:
        write: of the source, a file or folder, and the file or folder to write; it writes through
            `medssl.atomic`, so that nothing half-written stays behind, and raises a `MedsslError`
            where the source cannot be used. Heavy packages are imported inside.
    """

    write: Callable[[Path, Path], None]


def export(name: str, source: Path, out: Path) -> None:
    """Write `source` by the exporter of that name.

    Raises:
        UsageError: there is none (names the nearest), or it cannot be used.
        MedsslError: what the exporter says of the source.
    """
    EXPORTERS.find(name, Exporter).write(source, out)
