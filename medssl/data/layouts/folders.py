"""A folder per case under train/ and test/, named in lists whose order counts.

`train/CASE/image.nii.gz`, `train/CASE/label.nii.gz`, `train.list`, `test.list`: a name per line.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError, UsageError
from medssl.names import shown, unfit


class Options(BaseModel):
    """Keys of this layout.

    Attributes:
        images: file name of each channel in a case's folder.
        label: file name of the mask in a case's folder.
        lists: list file of each part; the part also names the folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: dict[str, str] = Field(description="file name of each channel in a case's folder")
    label: str = Field(
        default="label.nii.gz", description="file name of the mask in a case's folder"
    )
    lists: dict[Literal["train", "test"], str] = Field(
        default={"train": "train.list", "test": "test.list"},
        description="list file of each part; the part also names the folder",
    )


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """Cases in the order of the lists."""
    options = spec.layout.options(Options)
    if set(options.images) != set(spec.channels):
        raise UsageError(
            f"the data spec {spec.name} names files for {', '.join(options.images)}",
            f"its channels are {', '.join(spec.channels)}",
            "name one file per channel",
        )
    found = []
    for part, name in options.lists.items():
        for case in _names(root / name):
            folder = root / part / case
            label = folder / options.label
            found.append(
                Case(
                    id=case,
                    patient=spec.patient_of(case),
                    images={c: folder / options.images[c] for c in spec.channels},
                    label=label if label.exists() else None,
                    session=spec.session_of(case),
                    part=part,
                )
            )
    return found


def _names(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"{path} does not exist", do="restore the list or correct `layout.lists`")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} is no list in UTF-8", str(error), "save it as one") from None
    for number, line in enumerate(lines, start=1):
        if line and (reason := unfit(line)):  # before it is looked for on the disk
            raise DataError(
                f"line {number} of {path} names the case {shown(line)}",
                reason,
                "name one folder per line",
            )
    return [line for line in lines if line]


LAYOUT = Layout(Options, cases)
