"""Preprocessed cases on disk, as memory maps that a patch can be cut from without reading the rest.

A case is keyed by the content of its files and by all that preprocessing depends on; so a change of
either never meets a stale entry. An entry appears by one rename, so several processes may fill one
cache; its files are sealed, so that damage is noticed when it is opened.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from medssl.atomic import appearing, discard
from medssl.data.case_checks import constant, empty, some
from medssl.data.foreground import find_class_voxels, is_marked
from medssl.data.joined import named_by
from medssl.data.labels import IGNORED
from medssl.data.pixels import files_of
from medssl.data.quantiles import quantiles_of
from medssl.data.record import Record
from medssl.data.refusal import attempt, refuse_cases
from medssl.data.sealed import is_kept, kept_content, seal
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import Volume, read_mask, read_volume
from medssl.data.workers import Workers
from medssl.errors import DataError, UsageError
from medssl.transforms.chain import Chain

VERSION = 6  # of our own transforms; raise it when an equal chain gives other voxels
_BLOCK = 1 << 17  # bytes


@dataclass(frozen=True)
class CachedCase:
    """A preprocessed case.

    Attributes:
        floor: smallest intensity; what padding takes.
        record: what undoes the preprocessing.
        marked: whether the label file marks a voxel; False without a label.
        partial: whether some of its voxels are ignored.
        raw: quantiles of the intensities of the file, by channel, see `medssl.data.quantiles`.
        outlined: whether its mask outlines each class, background first; None: all of them.
        overlaps: where structures of its mask overlap, in sentences.
    """

    id: str
    folder: Path
    floor: float
    record: Record
    marked: bool = False
    partial: bool = False
    raw: tuple[tuple[float, ...], ...] = ()
    outlined: tuple[bool, ...] | None = None
    overlaps: tuple[str, ...] = ()

    @property
    def image(self) -> np.ndarray:
        """[C, X, Y, Z], memory-mapped; float16, or float32 where that does not hold the values."""
        return _mapped(self.folder / "image.npy")

    @property
    def mask(self) -> np.ndarray | None:
        """[X, Y, Z] uint8 class indices, memory-mapped; None without a label."""
        path = self.folder / "mask.npy"
        return _mapped(path) if path.exists() else None

    @property
    def class_voxels(self) -> np.ndarray:
        """Where its classes lie, see `medssl.data.foreground`; found once and kept.

        Raises:
            DataError: it has no label.
        """
        if self.mask is None:
            raise DataError(f"case {self.id} has no label", do="leave it out of the labelled cases")
        return _class_voxels(self.folder)


@lru_cache(maxsize=1024)  # opening takes longer than cutting a small patch; maps are limited
def _mapped(path: Path) -> np.ndarray:
    array: np.ndarray = np.load(path, mmap_mode="r")
    return array


@lru_cache(maxsize=1024)
def _class_voxels(folder: Path) -> np.ndarray:
    path = folder / "class_voxels.npy"
    if not is_kept(path):
        with appearing(path) as beside:
            np.save(beside, find_class_voxels(np.load(folder / "mask.npy", mmap_mode="r")))
            seal(beside)
    found: np.ndarray = np.load(path, mmap_mode="r")
    return found


class CaseCache:
    """The cases of one data set, each as a deterministic chain of transforms makes it.

    Raises:
        UsageError: a transform of the chain refuses its arguments.
    """

    def __init__(self, root: Path, spec: DataSpec, chain: Chain) -> None:
        from medssl.transforms.compose import Preparation  # imports MONAI

        self._root = root / spec.name
        self._spec = spec
        self._chain = chain
        self._prepare = Preparation(chain)
        self._fingerprint = chain.fingerprint()  # asks what version MONAI has, which takes a while

    def prepare(
        self,
        cases: Sequence[Case],
        workers: int = 2,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, CachedCase]:
        """Preprocess what is missing; returns every case by id, in the given order.

        Raises:
            DataError: as `open`, for the first such case; the others are prepared all the same.
        """
        found: dict[str, CachedCase] = {}
        errors: list[DataError] = []
        with Workers(workers) as pool:
            tried = pool.map(lambda case: attempt(self.open, case, case.id), cases)
            for number, opened in enumerate(tried, start=1):
                if isinstance(opened, DataError):
                    errors.append(opened)
                else:
                    found[opened.id] = opened
                if on_progress:
                    on_progress(number, len(cases))
        refuse_cases(errors, self._spec)
        return found

    def open(self, case: Case) -> CachedCase:
        """The cached case, preprocessed now if it is missing or damaged.

        Its files are read whole for their checksums, so it is to be opened once.

        Raises:
            DataError: a file cannot be read, image and label do not fit, the image is the same
                everywhere, or the label marks nothing and the data set does not mean it so.
        """
        folder = self._root / self._key(case)
        content = _intact(folder, labelled=case.label is not None)
        if content is None:
            if folder.exists():
                discard(folder)
                for maps in (_mapped, _class_voxels):
                    maps.cache_clear()  # of what was discarded
            self._fill(case, folder)
            content = kept_content(folder / "case.json")
        if content is None:
            raise DataError(
                f"{folder} is damaged as soon as it is written",
                do="put the cache on another disk (MEDSSL_CACHE)",
            )
        kept = json.loads(content)
        if case.label is not None and not (kept["marked"] or self._spec.empty_masks):
            what, do = empty(named_by(case.label))
            raise DataError(what, do=do)
        record = Record.from_json(kept["record"])
        raw = tuple(map(tuple, kept["raw"]))
        outlined = self._spec.outlined_in(case.id)
        overlaps = tuple(kept.get("overlaps", ()))
        known = kept["marked"], kept.get("partial", False), raw, outlined, overlaps
        return CachedCase(case.id, folder, kept["floor"], record, *known)

    def _key(self, case: Case) -> str:
        digest = hashlib.blake2b(digest_size=16)
        images = self._images(case)
        labels = [] if case.label is None else [_existing(case.label)]
        known = [VERSION, self._fingerprint, self._spec.label_values, len(images)]
        known += [colours] if (colours := self._spec.label_colours) else []
        known += [{"ignore": ignore}] if (ignore := self._spec.ignore) is not None else []
        known += ["resampled"] if self._spec.resample_channels else []
        digest.update(json.dumps(known).encode())
        for path in images + labels:
            digest.update(path.name.encode())
            for file in files_of(path):
                digest.update(_sha256(file))
        return digest.hexdigest()

    def _images(self, case: Case) -> list[Path]:
        missing = [name for name in self._spec.channels if name not in case.images]
        if missing:
            raise DataError(
                f"case {case.id} has no file for the channel {' and '.join(missing)}",
                f"the data set {self._spec.name} declares {', '.join(self._spec.channels)}",
                "add the file or leave the case out",
            )
        return [_existing(case.images[name]) for name in self._spec.channels]

    def _fill(self, case: Case, folder: Path) -> None:
        volume = read_volume(self._images(case), self._spec.resample_channels)
        if words := constant(volume):
            raise DataError(words[0], do=words[1])
        mask = None if case.label is None else self._labelled(case.label, volume)
        prepared = self._prepare(volume, mask)
        if prepared.mask is not None:
            self._must_hold_classes(prepared.mask)
        marked = mask is not None and is_marked(mask.array)
        with appearing(folder, first_wins=True) as beside:
            beside.mkdir()
            np.save(beside / "image.npy", prepared.image.astype(self._kind(prepared.image)))
            if prepared.mask is not None:
                np.save(beside / "mask.npy", prepared.mask)
            floor = float(prepared.image.min())
            kept = {
                "floor": floor,
                "record": prepared.record.to_json(),
                "marked": marked,
                "raw": quantiles_of(volume.array).tolist(),
            }
            if mask is not None and mask.remarks:
                kept["overlaps"] = list(mask.remarks)
            if prepared.mask is not None and bool((prepared.mask == IGNORED).any()):
                kept["partial"] = True
            (beside / "case.json").write_text(json.dumps(kept))
            for file in beside.iterdir():
                seal(file)

    def _must_hold_classes(self, mask: np.ndarray) -> None:
        """Refuse class indices that a chain made and the data set has not."""
        classes = len(self._spec.classes)
        if mask.max() < classes:
            return
        most = int(mask.max(initial=0, where=mask != IGNORED))
        if most >= classes:
            raise UsageError(
                f"preprocess makes a mask with the class {most}",
                f"the data set {self._spec.name} has the classes 0 to {classes - 1}",
                "map its classes to these, or leave out what changes masks",
            )

    def _kind(self, image: np.ndarray) -> type[np.floating[Any]]:
        """Half precision holds scaled intensities, except beside a nearly constant foreground."""
        fits = np.abs(image).max() <= np.finfo(np.float16).max
        return np.float16 if fits and self._chain.scales else np.float32

    def _labelled(self, label: Path, image: Volume) -> Volume:
        """Class indices on the grid of the image, uint8 [1, X, Y, Z]."""
        mask = read_mask(label, self._spec.labels, image.geometry)
        if not mask.geometry.matches(image.geometry):
            raise DataError(
                f"label {mask.source} does not lie on the grid of its image",
                mask.geometry.difference(image.geometry),
                "resample the label to the image, or correct its header",
            )
        indices = self._indices(mask.array[0], label)[None]
        return Volume(indices, image.geometry, str(label), remarks=mask.remarks)

    def _indices(self, values: np.ndarray, label: Path) -> np.ndarray:
        """Mask values of the data set as class indices."""
        indices = np.zeros_like(values, dtype=np.uint8)  # in the file's order of voxels
        known = values == 0
        for index, value in enumerate(self._spec.mask_values):
            here = values == value
            indices[here] = IGNORED if value == self._spec.ignore else index
            known |= here
        if not known.all():
            raise DataError(
                f"label {label} holds the values {some(np.unique(values[~known]).tolist())}",
                f"the data set {self._spec.name} declares {list(self._spec.mask_values)}",
                "correct the mask or declare the values in the data spec",
            )
        return indices


def _intact(folder: Path, labelled: bool) -> bytes | None:
    """What an entry says of its case; None where it is missing, or a file of it is damaged."""
    content = kept_content(folder / "case.json")
    names = ["image.npy", *(["mask.npy"] if labelled else [])]
    whole = content is not None and all(is_kept(folder / name) for name in names)
    return content if whole else None


def _sha256(file: Path) -> bytes:
    """SHA-256 of a file; hashlib's own function first clears a buffer larger than many files."""
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.digest()


def _existing(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path} does not exist", do="run `medssl data check`")
    return path
