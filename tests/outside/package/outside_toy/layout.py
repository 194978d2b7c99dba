"""The layout `pairs`: a text file with a line `CASE IMAGE MASK` per case."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = "pairs.txt"


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """Cases in the order of the lines."""
    path = root / spec.layout.options(Options).file
    if not path.is_file():
        raise DataError(f"{path} does not exist", do="write a line `CASE IMAGE MASK` per case")
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        name, image, mask = line.split()
        images = {spec.channels[0]: root / image}
        found.append(Case(name, spec.patient_of(name), images, root / mask))
    return found


PAIRS = Layout(Options, cases)
