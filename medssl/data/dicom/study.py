"""DICOM files anywhere in a folder, by the study that their headers name.

Where and under which names they lie does not matter: one folder per series, or all in one heap.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import Any

from medssl.data.dicom.examinations import Examination, numbered
from medssl.data.dicom.header import read_header
from medssl.data.dicom.slices import begins_like_dicom
from medssl.data.dicom.stored import DAMAGE
from medssl.data.files import DICOM, leads_back, visible
from medssl.keyed import own_key

Progress = Callable[[int, int | None], None]

_LENGTH = 12
_OFTEN = 500
_LAST = 0x00200052  # FrameOfReferenceUID
_WANTED = (
    "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "StudyDate", "FrameOfReferenceUID"
)  # fmt: skip


@dataclass(frozen=True)
class _Named:
    """What a file says of where it belongs; empty where it does not."""

    path: Path
    series: str
    patient: str
    examination: Examination

    @property
    def study(self) -> str:
        return self.examination.study


@dataclass(frozen=True)
class StudyFiles:
    """The files of one study.

    Attributes:
        key: 12 hex characters that stand for its UID, for whoever has the key.
        folder: the deepest that holds them all.
        files: sorted.
        series: how many there are.
    """

    key: str
    folder: Path
    files: tuple[Path, ...]
    series: int


def studies_in(folder: Path, on_progress: Progress | None = None) -> list[StudyFiles]:
    """The studies in a folder and all below it, by folder and key; hidden files are passed over.

    A series is of the study that most of its files name, whatever the others say, but for files
    that name another patient or are of another examination: some archives give several scans one
    series. Files that name neither make a study for each folder.

    Args:
        on_progress: called with the numbers of files read and in all, every 500 files.
    """
    paths = list(_files(folder))
    named: list[_Named] = []
    for number, path in enumerate(paths, start=1):
        if (one := _named(path)) is not None:
            named.append(one)
        if on_progress is not None and number % _OFTEN == 0:
            on_progress(number, len(paths))
    found: dict[str, list[Path]] = {}
    series: dict[str, set[str]] = {}
    for one, owner in zip(named, _owners(named), strict=True):
        key = owner or one.study or str(one.path.parent)
        found.setdefault(key, []).append(one.path)
        series.setdefault(key, set()).add(one.series)

    def name_of(uid: str) -> str:
        return own_key().name_of("study", uid, _LENGTH)

    return sorted(
        (
            StudyFiles(name_of(key), _common(files), tuple(files), len(series[key]))
            for key, files in found.items()
        ),
        key=lambda one: (one.folder, one.key),
    )


def _owners(named: Sequence[_Named]) -> list[str]:
    """The study that each file belongs to by its series; empty where it names none."""
    patients = _most_named((one.series, one.patient) for one in named)
    scans: dict[tuple[str, str], list[int]] = {}
    for place, one in enumerate(named):
        if one.series:
            whose = one.series, one.patient or patients.get(one.series, "")
            scans.setdefault(whose, []).append(place)
    owners = [""] * len(named)
    for places in scans.values():
        numbers = numbered([named[place].examination for place in places])
        pairs = list(zip(numbers, places, strict=True))
        owner = _most_named((number, named[place].study) for number, place in pairs)
        for number, place in pairs:
            owners[place] = owner.get(number, "")
    return owners


def _most_named(pairs: Iterable[tuple[Any, str]]) -> dict[Any, str]:
    """What is named most often together with each key; empty names do not count."""
    counts = Counter((of, name) for of, name in pairs if name)
    return {of: name for (of, name), _ in reversed(counts.most_common())}


def strays(folder: Path, studies: Sequence[StudyFiles]) -> list[Path]:
    """Files in a folder and below that are called DICOM, hold none, and lie beside none that does.

    What lies beside a study may be a slice of it, and whoever reads the study refuses that.
    """
    beside = {file.parent for one in studies for file in one.files}
    return [
        path
        for path in _files(folder)
        if path.suffix.lower() in DICOM and path.parent not in beside and _named(path) is None
    ]


def named_series(path: Path) -> str:
    """SeriesInstanceUID of a DICOM file; empty where it has none."""
    found = _named(path)
    return "" if found is None else found.series


def names_of(
    studies: Sequence[StudyFiles], root: Path, lone: bool = False, keep_ids: bool = False
) -> list[str]:
    """What the results of each study are named after: study_KEY, which says nothing of a patient.

    Args:
        lone: whether one study alone is named after `root` itself, where ids are kept.
        keep_ids: name them after the way from `root` to their files, which may name the patient;
            studies that share a folder have their keys behind it.
    """
    if not keep_ids:
        return [f"study_{one.key}" for one in studies]
    places = Counter(one.folder for one in studies)
    names = []
    for one in studies:
        below = one.folder.relative_to(root).parts if len(studies) > 1 or not lone else ()
        name = "_".join(below) or root.resolve().name
        shared = places[one.folder] > 1 or any(place in one.folder.parents for place in places)
        names.append(f"{name}_{one.key}" if shared else name)
    return names


def patient_key(study: StudyFiles, file: Path) -> str:
    """What stands for the patient of a file: a keyed digest of PatientID, or of the study."""
    found = patient_in(file)
    return f"patient_{own_key().name_of('patient', found, _LENGTH) if found else study.key}"


def patient_in(path: Path) -> str:
    """PatientID of a DICOM file; empty where it has none, or none that can be read."""
    try:
        return str(read_header(path, specific_tags=["PatientID"]).get("PatientID") or "")
    except DAMAGE:
        return ""


def image_name(path: Path) -> str:
    """What the result of a single DICOM file is named after, which says nothing of a patient."""
    try:
        uid = str(read_header(path, specific_tags=["SOPInstanceUID"]).get("SOPInstanceUID") or "")
    except DAMAGE:
        uid = ""
    return f"image_{own_key().name_of('image', uid or str(path.resolve()), _LENGTH)}"


def series_name(folder: Path) -> str:
    """What the result of a folder of one series is named after, as that of its study is."""
    found = studies_in(folder)
    return names_of(found[:1], folder)[0] if found else folder.resolve().name


def _files(folder: Path) -> Iterator[Path]:
    for path in visible(folder):
        if path.is_dir():
            yield from () if leads_back(path) else _files(path)
        elif path.is_file():
            yield path


def _named(path: Path) -> _Named | None:
    """Where a DICOM file belongs; None of other files."""
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    def after(tag: Any, *_: Any) -> bool:
        return int(tag) > _LAST

    try:
        with path.open("rb") as file:
            start = file.read(132)
            if not begins_like_dicom(start):
                return None
            file.seek(0)
            header = read_partial(file, after, force=True, specific_tags=list(map(Tag, _WANTED)))
            study, series = (str(header.get(keyword) or "") for keyword in _WANTED[:2])
            patient, *others = (_undecoded(header.get_item(keyword)) for keyword in _WANTED[2:])
    except DAMAGE:
        return None
    with suppress(*DAMAGE):  # a damaged kind is none
        if header.file_meta.get("MediaStorageSOPClassUID") == "1.2.840.10008.1.3.10":
            return None  # a DICOMDIR
    plain = not (study or series) and start[128:] != b"DICM"
    return None if plain else _Named(path, series, patient, Examination(study, *others))


def _undecoded(element: Any) -> str:
    """A text of a header, byte for byte, as what it says does not matter; empty without one."""
    value = b"" if element is None else element.value
    return value.strip(b" \0").hex() if isinstance(value, bytes) else str(value or "")


def _common(files: Iterable[Path]) -> Path:
    return Path(commonpath([path.parent for path in files]))
