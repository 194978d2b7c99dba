"""The cases in a folder of images: one, one for each file, or one for each folder in it.

A folder that is named, or is called after what many cases have (`images`, `train`, `site_1`), holds
cases, unless its images are called after contrasts (`t1`, `flair`); a folder in it is a case. Which
of several images in a case's folder is meant is said by the names of the model's channels, or by
the user: it is not guessed. Each picture is a case.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medssl.data.dicom.series import refuse_both_kinds
from medssl.data.dicom.slices import first_slice_in
from medssl.data.files import images_in, is_picture, leads_back, stem, visible
from medssl.data.found.words import channel_word, names_a_mask, names_many_scans
from medssl.errors import DataError
from medssl.names import some_of

MOST_NUMBERED = 4
"""Images that may be the channels of one case by their numbers; more than these are scans."""

ImagesOfCase = tuple[str, tuple[Path, ...]]
"""Name of the outputs, and the files in channel order."""


@dataclass(frozen=True)
class Look:
    """What a model knows of files, and what was found that is not to be predicted.

    Attributes:
        channels: that a case has.
        labels: names of what it finds.
        masks: what is passed over as a mask.
        others: images that are no channel, beside those that are.
        strays: files that are called DICOM, hold none, and lie beside none that does.
        unclear: images of each folder of a case of which it cannot be told which is meant.
        apart: images of each folder that were taken for cases of their own.
    """

    channels: Sequence[str]
    labels: Sequence[str]
    masks: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    strays: list[Path] = field(default_factory=list)
    unclear: list[Sequence[Path]] = field(default_factory=list)
    apart: list[Sequence[Path]] = field(default_factory=list)

    def without_masks(self, paths: Sequence[Path]) -> list[Path]:
        """Files or folders without those that are masks by their names, unless all are."""
        masks = self._masks(paths)
        scans = [path for path in paths if path not in masks]
        if not scans or not masks:
            return list(paths)
        self.masks.extend(masks)
        return scans

    def _masks(self, paths: Sequence[Path]) -> list[Path]:
        """Those that are masks by their names: `seg`, `liver`, `case_liver` beside `case`."""
        stems = {_plain(stem(path)) for path in paths}
        return [path for path in paths if names_a_mask(stem(path)) or self._of(path, stems)]

    def _of(self, path: Path, stems: set[str]) -> bool:
        """Whether a name is that of a label, alone or with that of another file."""
        name, labels = _plain(stem(path)), {*map(_plain, self.labels)}
        before = {name.removesuffix(f"_{label}") for label in labels}
        after = {name.removeprefix(f"{label}_") for label in labels}
        called = name in labels or bool(((before | after) - {name}) & stems)
        return called and not name.endswith(tuple(map(_plain, self.channels)))

    def told(self) -> Iterator[str]:
        """What is passed over, or taken for many cases, in a sentence for each reason."""
        if self.masks:
            yield (
                f"{_count(self.masks)} are masks by their names and are not predicted, first "
                f"{self.masks[0].name}; name them one by one if they are scans"
            )
        if self.others:
            yield (
                f"{_count(self.others)} are not called after a channel of the model "
                f"({', '.join(self.channels)}), as others beside them are, and are not predicted, "
                f"first {self.others[0].name}"
            )
        if self.apart:
            yield self._told_apart()
        if self.strays:
            yield (
                f"{_count(self.strays)} are called DICOM, but hold none, and no study is made of "
                f"them, first {self.strays[0].name}; copy them again"
            )

    def _told_apart(self) -> str:
        images = [path for one in self.apart for path in one]
        count, first = len(images), self.apart[0]
        return (
            f"{_count(images)} are taken for {count} cases, {some_of([one.name for one in first])};"
            f" where they are one, let the name of the image that is meant end in "
            f"'{self.channels[0]}'"
        )

    def refuse_unclear(self) -> None:
        """Refuse folders of cases of which it cannot be told which image is meant.

        Raises:
            DataError: there are some.
        """
        if not self.unclear:
            return
        images, channel = self.unclear[0], self.channels[0]
        folder, more = images[0].parent, [one[0].parent.name for one in self.unclear[1:]]
        also = f", and {len(more)} more hold several, {some_of(more)}" if more else ""
        what, name = "a folder among others is taken for a case", f"{folder} itself"
        if _of_one_case(images):
            what, name = "by their names they are contrasts of one case", "the files one by one"
        raise DataError(
            f"{folder} holds {len(images)} images, {some_of([one.name for one in images])}{also}",
            f"{what}, of which the model wants one image",
            f"let the name of the one that is meant end in '{channel}', as {channel}.nii.gz, or "
            "list those that are meant in a CSV of path and name for --manifest; if each is a scan "
            f"of its own, name {name}",
        )


def _count(paths: Sequence[Path]) -> str:
    """How many files there are, and where."""
    more = len({path.parent for path in paths}) - 1
    beside = f" and {more} more folder{'s' if more > 1 else ''}" if more else ""
    return f"{len(paths)} in {paths[0].parent}{beside}"


def _plain(name: str) -> str:
    """A name in small letters whose words are joined alike."""
    return re.sub(r"[-. ]", "_", name.lower())


def cases_below(folder: Path, name: str, look: Look, top: bool = True) -> Iterator[ImagesOfCase]:
    """The cases in a folder, and where it holds none by itself, those in the folders in it.

    Args:
        name: of the case that the folder is, where it is one.
        top: whether the user has named the folder.

    Raises:
        DataError: which image is which channel cannot be told; or there is a DICOM series beside.
    """
    images = look.without_masks(list(images_in(folder).values()))
    if images and is_picture(images[0]) and first_slice_in(folder) is not None:
        images = []  # what pictures beside a series show, the series has
    if images:
        refuse_both_kinds(folder)
        many = top or names_many_scans(folder.name) or is_picture(images[0])
        yield from _of_images(folder, name, images, look, many)
        return
    folders = [one for one in visible(folder) if one.is_dir() and not leads_back(one)]
    for inner in look.without_masks(folders):
        below = inner.name if top else f"{name}_{inner.name}"
        yield from cases_below(inner, below, look, top=False)


def _of_images(
    folder: Path, name: str, images: Sequence[Path], look: Look, many: bool
) -> Iterator[ImagesOfCase]:
    """One case of one file per channel, else one per scan.

    Args:
        many: whether the folder may hold several cases.
    """
    channels = look.channels
    fitting = [
        [path for path in images if stem(path).lower().endswith((channel.lower(), f"_{index:04d}"))]
        for index, channel in enumerate(channels)
    ]
    coloured = len(channels) > 1 and is_picture(images[0]) and not any(fitting)
    if coloured:  # each file has all channels
        yield from _each(images, look)
    elif len(images) == len(channels) == 1:
        yield name, (images[0],)
    elif all(len(found) == 1 for found in fitting) and not (many and _are_counted(images)):
        taken = tuple(found[0] for found in fitting)
        look.others.extend(path for path in images if path not in taken)
        yield name, taken
    elif len(channels) == 1 and many and not _of_one_case(images):
        yield from _each(images, look)
    elif len(channels) == 1 and many and fitting[0]:
        look.others.extend(path for path in images if path not in fitting[0])
        yield from _each(fitting[0], look)
    elif len(channels) == 1:
        look.unclear.append(images)
    else:
        yield from _numbered(folder, images, fitting, channels)


def _each(images: Sequence[Path], look: Look) -> Iterator[ImagesOfCase]:
    """A case for each image."""
    if len(images) > 1:
        look.apart.append(images)
    yield from ((stem(path), (path,)) for path in images)


def _of_one_case(images: Sequence[Path]) -> bool:
    """Whether names tell several contrasts of one case: `t1` and `flair`, `a_0000` and `a_0001`."""
    if is_picture(images[0]):
        return False
    cases = defaultdict[tuple[str, str], set[str]](set)
    for before, after, word in filter(None, map(channel_word, map(stem, images))):
        cases[before, after].add(word)
    told = [words for words in cases.values() if not all(map(str.isdigit, words))]
    told += [words for words in cases.values() if "0000" in words and not _are_counted(images)]
    return any(len(words) > 1 for words in told)


def _are_counted(images: Sequence[Path]) -> bool:
    """Whether names count scans, `scan_0000` and so on: more than a case has channels."""
    found = [re.fullmatch(r"(.*?)\d{4}", stem(path)) for path in images]
    before = {one and one[1] for one in found}
    return len(images) > MOST_NUMBERED and len(before) == 1 and None not in before


def _numbered(
    folder: Path, images: Sequence[Path], fitting: Sequence[Sequence[Path]], channels: Sequence[str]
) -> Iterator[ImagesOfCase]:
    """Cases of several channels side by side, named after what all their files begin with."""
    cases: dict[str, dict[int, Path]] = {}
    for index, (channel, paths) in enumerate(zip(channels, fitting, strict=True)):
        for path in paths:
            before = re.sub(rf"(?i)({re.escape(channel)}|_{index:04d})$", "", stem(path))
            cases.setdefault(before.rstrip("_-. "), {})[index] = path
    whole = {name: found for name, found in cases.items() if len(found) == len(channels)}
    if not whole or len(whole) < len(cases) or "" in whole:
        short = next((one for one in cases if one not in whole), "")
        index = next(i for i in range(len(channels)) if i not in cases.get(short, {}))
        channel, count = channels[index], len(fitting[index])
        raise DataError(
            f"{folder} does not tell which file is the channel '{channel}'"
            + (f" of {short}" if short and len(cases) > 1 else ""),
            f"{count} of its {len(images)} images end in '{channel}' or '_{index:04d}'",
            f"keep one image per channel, named e.g. {channel}.nii.gz",
        )
    for name, found in whole.items():
        yield name, tuple(found[index] for index in range(len(channels)))
