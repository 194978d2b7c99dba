"""Files of bags: NPZ (keys X, bag, y, sizes) or CSV (label, bag and features, a row per instance).

Legend: N instances, E features, M bags.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.data.classes import Fault, class_index, undeclared
from medssl.data.csv_table import read_cells
from medssl.errors import DataError

_KEYS = ("X", "bag", "y", "sizes")

_LARGEST = 16 * 10**9
"""Bytes of an .npz, unpacked."""


@dataclass(frozen=True)
class Instances:
    """All bags of a file.

    Attributes:
        features: [N, E] float32.
        bag: [N] int64, number of the bag of each instance.
        names: of the M bags, `bag_` and what the file calls them; NPZ files number them from 0.
        stated: labels of each bag as the file states them; several where its rows disagree.
    """

    path: Path
    features: np.ndarray
    bag: np.ndarray
    names: tuple[str, ...]
    stated: tuple[tuple[str, ...], ...]

    def of(self, number: int) -> np.ndarray:
        """[n, E] float32, the instances of bag `number` in the file's order."""
        return np.asarray(self.features[self.bag == number])

    def faults(self, classes: tuple[str, ...]) -> list[Fault]:
        """The faults of the bags, in their order."""
        counts = np.bincount(self.bag, minlength=len(self.names))
        broken = np.bincount(self.bag[~np.isfinite(self.features).all(1)], minlength=len(counts))
        faults = []
        for number, name in enumerate(self.names):
            for stated in self.stated[number]:
                if class_index(stated, classes) is None:
                    faults.append(undeclared(name, self.path, stated, classes))
            if len(self.stated[number]) > 1:
                labels = " and ".join(self.stated[number])
                what = f"rows of {name} of {self.path} disagree on its label: {labels}"
                faults.append(Fault(name, self.path, "label", what, "give a bag one label"))
            if not counts[number]:
                what = f"{name} of {self.path} has no instance"
                faults.append(Fault(name, self.path, "empty bag", what, "remove the bag"))
            if broken[number]:
                what = (
                    f"{int(broken[number])} instances of {name} of {self.path} have features "
                    "that are missing or not finite"
                )
                faults.append(Fault(name, self.path, "non-finite", what, "replace or remove them"))
        return faults


def read_instances(path: Path) -> Instances:
    """The bags in a .npz or .csv file.

    Raises:
        DataError: there is no such file, or it is not laid out as described.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist", do="put it there or correct `layout.file`")
    found = _from_npz(path) if path.suffix.lower() == ".npz" else _from_csv(path)
    if not found.names:
        raise DataError(f"{path} holds no bag", do="replace the file")
    return found


def _from_npz(path: Path) -> Instances:
    features, bag, labels, sizes = _arrays(path)
    if features.ndim != 2 or bag.shape != features.shape[:1] or labels.shape != sizes.shape:
        raise _not_laid_out(path, "the shapes of its arrays do not fit each other")
    if sizes.ndim != 1 or features.dtype.kind not in "fiub":
        raise _not_laid_out(path, "X holds no numbers, or y and sizes have several axes")
    bag, sizes = _whole(path, "bag", bag), _whole(path, "sizes", sizes)
    numbered = not bag.size or (bag.min() >= 0 and bag.max() < len(sizes))
    if not numbered or not np.array_equal(np.bincount(bag, minlength=len(sizes)), sizes):
        raise _not_laid_out(path, "`sizes` does not count the instances that `bag` numbers")
    if labels.dtype.kind not in "SU":
        labels = _whole(path, "y", labels)
    with np.errstate(over="ignore"):  # infinite values are a fault of the bag
        values = features.astype(np.float32)
    return Instances(
        path,
        values,
        bag,
        _names([str(number) for number in range(len(sizes))]),
        tuple((str(label),) for label in labels.astype(str).tolist()),
    )


def _arrays(path: Path) -> list[np.ndarray]:
    """The arrays X, bag, y and sizes; nothing pickled is read, and no more than is stated."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _LARGEST:
            raise _not_laid_out(path, f"unpacked it has more than {_LARGEST // 10**9} GB")
        with np.load(path, allow_pickle=False) as file:
            if missing := [key for key in _KEYS if key not in file]:
                raise _not_laid_out(path, f"it lacks the array {' and '.join(missing)}")
            return [np.asarray(file[key]) for key in _KEYS]
    except (
        OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError,
        MemoryError, OverflowError, SyntaxError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        pickled = "allow_pickle" in str(error)
        why = "an array holds objects, which are never unpickled" if pickled else "it is damaged"
        raise _not_laid_out(path, why) from error


def _whole(path: Path, key: str, values: np.ndarray) -> np.ndarray:
    """int64 [n]; floats without a fraction will do."""
    whole = values.dtype.kind in "iub" or (
        values.dtype.kind == "f" and bool((values == np.rint(values)).all())
    )
    if not whole or (values.size and np.abs(values.astype(np.float64)).max() > 2**53):
        raise _not_laid_out(path, f"{key} holds something besides whole numbers")
    return values.astype(np.int64)


def _from_csv(path: Path) -> Instances:
    """Columns named label and bag, wherever they stand; without a header, the first two."""
    rows = read_cells(path)
    label, bag, first = 0, 1, 1
    if rows and {"label", "bag"} <= {cell.strip().lower() for cell in rows[0]}:
        header = [cell.strip().lower() for cell in rows.pop(0)]
        if header.count("label") + header.count("bag") > 2:
            raise _not_laid_out(path, "it has several columns of the label or the bag")
        label, bag, first = header.index("label"), header.index("bag"), 2
    numbers: dict[str, int] = {}
    labels: list[list[str]] = []
    of_row = np.empty(len(rows), np.int64)
    for index, row in enumerate(rows):
        if len(row) != len(rows[0]) or len(row) < 3:
            why = f"row {index + first} has {len(row)} cells, the first {len(rows[0])}"
            raise _not_laid_out(path, why)
        number = of_row[index] = numbers.setdefault(row[bag].strip(), len(numbers))
        if number == len(labels):
            labels.append([])
        if row[label].strip() not in labels[number]:
            labels[number].append(row[label].strip())
    features = _features(path, rows, {label, bag}, first)
    return Instances(path, features, of_row, _names(list(numbers)), tuple(map(tuple, labels)))


def _features(path: Path, rows: list[list[str]], apart: set[int], first: int) -> np.ndarray:
    """[N, E] float32 of all columns but those in `apart`; an empty cell is NaN."""
    columns = [index for index in range(len(rows[0]) if rows else 0) if index not in apart]
    features = np.empty((len(rows), len(columns)), np.float32)
    for index, row in enumerate(rows):
        try:
            features[index] = [float(row[column] or "nan") for column in columns]
        except ValueError as error:
            why = f"row {index + first}: {error}"
            raise _not_laid_out(path, why) from None
    return features


def _names(called: list[str]) -> tuple[str, ...]:
    """Names of bags; numbers get leading zeros, so that they sort by value."""
    width = max((len(name) for name in called if name.isdecimal()), default=0)
    return tuple(f"bag_{name.zfill(width) if name.isdecimal() else name}" for name in called)


def _not_laid_out(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} is no file of bags",
        why,
        "an .npz holds X, bag, y, sizes; a .csv has label, bag and the features in each row",
    )
