"""nnU-Net folders: imagesTr/CASE_0000.nii.gz per channel, labelsTr/CASE.nii.gz; Ts likewise.

Channel `_000i` is the i-th channel of the data spec; a picture in colour, CASE_0000.png, has all.
Cases of imagesTs are used where labelsTs has their labels.
"""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from medssl.data.files import images_in, is_picture
from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec

_CHANNEL = re.compile(r"^(.+)_(\d{4})$")


class Options(BaseModel):
    """This layout has no keys of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """Training cases, then labelled test cases, each by name."""
    spec.layout.options(Options)
    train = _folder(spec, root, "Tr", None)
    return train + [case for case in _folder(spec, root, "Ts", "test") if case.label]


def _folder(spec: DataSpec, root: Path, ending: str, part: str | None) -> list[Case]:
    files: dict[str, dict[int, Path]] = {}
    for name, path in images_in(root / f"images{ending}").items():
        match = _CHANNEL.match(name)
        if match:
            files.setdefault(match.group(1), {})[int(match.group(2))] = path
    if len(spec.channels) > 1:
        for name, channels in files.items():
            if list(channels) == [0] and is_picture(channels[0]):  # in colour
                files[name] = dict.fromkeys(range(len(spec.channels)), channels[0])
    labels = images_in(root / f"labels{ending}")
    found = []
    for name in sorted(files.keys() | labels.keys()):
        channels = files.get(name, {})
        images = {
            channel: channels[index]
            for index, channel in enumerate(spec.channels)
            if index in channels
        }
        patient, session = spec.patient_of(name), spec.session_of(name)
        found.append(Case(name, patient, images, labels.get(name), session, part))
    return found


LAYOUT = Layout(Options, cases, remarks="medssl.data.across:unused_files")
