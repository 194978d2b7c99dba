import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medssl.data.bags.read import read_bags
from medssl.data.layouts import find_cases
from medssl.data.layouts.bags import LAYOUT
from medssl.data.spec import DataSpec, load_spec
from medssl.errors import DataError
from tests.data.conftest import declare, refusing

cases = refusing(LAYOUT)


PLAIN = "0,b1,1,2\n0,b1,3,4\nmalignant,b2,5,6\n0,b1,7,8\n"


def spec_of(root: Path, file: str) -> DataSpec:
    layout = {"kind": "bags", "file": file, "classes": ["benign", "malignant"]}
    return declare(root, modality="OT", channels=["features"], labels=[], layout=layout)


def from_csv(root: Path, content: str) -> DataSpec:
    (root / "bags.csv").write_text(content)
    return spec_of(root, "bags.csv")


def from_npz(root: Path, **arrays: Any) -> DataSpec:
    whole = {
        "X": np.arange(8, dtype=np.int16).reshape(4, 2),
        "bag": [0, 0, 0, 1],
        "y": np.array([0, 1], np.int8),
        "sizes": [3, 1],
    }
    np.savez(root / "bags.npz", **{**whole, **arrays})
    return spec_of(root, "bags.npz")


def test_a_case_per_bag_of_a_csv(tmp_path: Path) -> None:
    spec = from_csv(tmp_path, PLAIN)
    one, two = find_cases(spec)
    assert (one.id, one.patient, one.extra) == ("bag_b1", "bag_b1", {"class": 0, "index": 0})
    assert (two.id, two.extra) == ("bag_b2", {"class": 1, "index": 1})
    assert one.images == {"bag": tmp_path / "bags.csv"}


def test_the_instances_of_a_bag_keep_their_order(tmp_path: Path) -> None:
    spec = from_csv(tmp_path, PLAIN)
    two, one = read_bags(spec, find_cases(spec)[::-1])
    assert (one.id, one.label, one.features.dtype) == ("bag_b1", 0, np.float32)
    assert one.features.tolist() == [[1, 2], [3, 4], [7, 8]]
    assert (two.id, two.label, two.features.tolist()) == ("bag_b2", 1, [[5, 6]])


def test_a_header_names_the_columns_wherever_they_stand(tmp_path: Path) -> None:
    spec = from_csv(tmp_path, "area,Bag,label,shape\n1.5,x,1,2\n-1,y,0,4e1\n")
    x, y = read_bags(spec, find_cases(spec))
    assert (x.id, x.label, x.features.tolist()) == ("bag_x", 1, [[1.5, 2]])
    assert (y.id, y.label, y.features.tolist()) == ("bag_y", 0, [[-1, 40]])


def test_an_npz_holds_the_same(tmp_path: Path) -> None:
    spec = from_npz(tmp_path)
    one, two = read_bags(spec, find_cases(spec))
    assert (one.id, one.label, one.features.tolist()) == ("bag_0", 0, [[0, 1], [2, 3], [4, 5]])
    assert (two.id, two.label, two.features.tolist()) == ("bag_1", 1, [[6, 7]])
    assert one.features.dtype == np.float32


def test_numbered_bags_sort_by_number(tmp_path: Path) -> None:
    spec = from_csv(tmp_path, "".join(f"0,{number},1\n" for number in range(1, 12)))
    assert [case.id for case in find_cases(spec)][::9] == ["bag_01", "bag_10"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("2,b1,1\n", "gives bag_b1 the class '2', where the layout declares benign, malignant"),
        ("0,b1,1\n1,b1,2\n", "rows of bag_b1 .* disagree on its label: 0 and 1; give"),
        ("0,b1,1,nan\n", "1 instances of bag_b1 .* not finite"),
        ("0,b1,inf,1\n", "1 instances of bag_b1 .* not finite"),
        ("0,b1,1,\n", "1 instances of bag_b1 .* are missing or not finite"),
        ("0,b1,1,2\n0,b1,1\n", "row 2 has 3 cells, the first 4"),
        ("label,bag,f\n0,b1,x\n", "row 2: could not convert string to float: 'x'"),
        ("0,b1\n", "row 1 has 2 cells"),
        ("", "holds no bag"),
        ("label,bag,label\n0,b1,1\n", "several columns of the label or the bag"),
        ("0,b1,\0\n", "no CSV table in UTF-8"),
        ("0;b1;1\n", "row 1 has 1 cells"),
    ],
)
def test_a_csv_that_cannot_be_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    spec = from_csv(tmp_path, content)
    with pytest.raises(DataError, match=sentence) as caught:
        cases(spec, tmp_path)
    assert str(tmp_path / "bags.csv") in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"sizes": [3, 1, 0], "y": [0, 1, 1]}, "bag_2 .* has no instance; remove"),
        ({"sizes": [2, 2]}, "does not count"),
        ({"bag": [0, 0, 0, -1]}, "does not count"),
        ({"bag": [0, 0, 1]}, "shapes of its arrays"),
        ({"X": np.array([[1.0, 2], [3, np.nan], [5, 6], [7, 8]])}, "1 instances of bag_0"),
        ({"y": np.array([0, 3])}, "gives bag_1 the class '3'"),
        ({"X": np.array([[{}]] * 4)}, "holds objects, which are never unpickled"),
        ({"X": np.array([["a"]] * 4)}, "X holds no numbers"),
        ({"X": np.ones((4, 1), complex)}, "X holds no numbers"),
        ({"bag": np.array([0, 0, 0.5, 1])}, "bag holds something besides whole numbers"),
        ({"bag": np.array([0, 0, 0, 2**62])}, "bag holds something besides whole numbers"),
        ({"bag": [0, 0, 0, 10**12]}, "does not count"),
        ({"y": np.array([0, np.nan])}, "y holds something besides whole numbers"),
        ({"sizes": np.array(4), "y": np.array(0)}, "y and sizes have several axes"),
        ({"X": np.full((4, 1), 1e300)}, "3 instances of bag_0"),
    ],
)
def test_an_npz_that_cannot_be_is_refused(
    tmp_path: Path, arrays: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        cases(from_npz(tmp_path, **arrays), tmp_path)


def test_labels_may_be_names_or_floats(tmp_path: Path) -> None:
    for labels in ([b"benign", b"malignant"], ["benign", "malignant"], [0.0, 1.0]):
        spec = from_npz(tmp_path, y=np.array(labels))
        assert [case.extra["class"] for case in find_cases(spec)] == [0, 1]


def test_an_npz_may_be_cut_or_damaged_anywhere(tmp_path: Path) -> None:
    spec = from_npz(tmp_path)
    path = tmp_path / "bags.npz"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    broken = [whole[:length] for length in range(0, len(whole), 29)]
    for _ in range(150):
        changed = bytearray(whole)
        changed[int(rng.integers(len(whole)))] = int(rng.integers(256))
        broken.append(bytes(changed))
    outcomes = set()
    for content in broken:
        path.write_bytes(content)
        try:
            outcomes.add(len(read_bags(spec, cases(spec, tmp_path))))
        except DataError as error:
            outcomes.add(path.name in str(error))
    assert outcomes == {True, 2}


def test_other_files_called_npz_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bags.npz"
    np.save(tmp_path / "a.npy", np.ones(3))
    for content in (b"", (tmp_path / "a.npy").read_bytes(), pickle.dumps({"X": 1})):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"bags\.npz is no file of bags; it is damaged"):
            cases(spec_of(tmp_path, "bags.npz"), tmp_path)
    np.savez(path, X=np.ones((1, 1)))
    with pytest.raises(DataError, match="lacks the array bag and y and sizes"):
        cases(spec_of(tmp_path, "bags.npz"), tmp_path)


def test_an_npz_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medssl.data.bags.instances._LARGEST", 10**6)
    np.savez_compressed(tmp_path / "bags.npz", X=np.zeros((10**6, 1)))
    assert (tmp_path / "bags.npz").stat().st_size < 20_000
    with pytest.raises(DataError, match="unpacked it has more than"):
        cases(spec_of(tmp_path, "bags.npz"), tmp_path)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bags.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="is no file of bags"):
        cases(spec_of(tmp_path, "bags.npz"), tmp_path)
    with pytest.raises(DataError, match=r"gone\.csv does not exist"):
        cases(spec_of(tmp_path, "gone.csv"), tmp_path)


REAL = {
    "musk1": (92, 47, 476, 166),
    "musk2": (102, 39, 6598, 166),
    "elephant": (200, 100, 1391, 230),
    "fox": (200, 100, 1320, 230),
    "tiger": (200, 100, 1220, 230),
    "ucsb_breast": (58, 26, 2002, 708),
}


@pytest.mark.parametrize("name", REAL)
def test_the_classical_sets(shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(shared_data))
    spec = load_spec(name)
    bags = read_bags(spec, find_cases(spec))
    instances = sum(len(bag.features) for bag in bags)
    positive = sum(bag.label or 0 for bag in bags)
    assert (len(bags), positive, instances, bags[0].features.shape[1]) == REAL[name]
    assert len({case.id for case in find_cases(spec)}) == len(bags)
