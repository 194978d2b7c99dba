"""The cache: keyed by content, filled by several at once, whole or not there after a kill."""

import gzip
import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medssl.data import cache
from medssl.data.cache import CaseCache
from medssl.data.foreground import find_class_voxels
from medssl.data.geometry import Geometry
from medssl.data.sealed import kept_content
from medssl.data.spec import Case
from medssl.data.volume import read_volume, write_mask, write_volume
from medssl.errors import DataError
from medssl.train.fingerprint import fingerprint
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation
from tests.data.conftest import GRID, SHAPE, declare, image

SETTINGS = Preprocess.of({"mr": {"spacing": (1.0, 1.0, 1.0)}})


def spec(**keys):
    labels = [{"value": 3, "name": "left"}, {"value": 7, "name": "right"}]
    return declare(Path("toy"), **{"channels": ["T1"], "labels": labels, **keys})


@pytest.fixture
def cases(tmp_path):
    """Three cases with masks of the values 3 and 7."""
    found = []
    for number, name in enumerate("abc"):
        scan, label = tmp_path / f"{name}.nii.gz", tmp_path / f"{name}_seg.nii.gz"
        write_volume(image(number), GRID, scan)
        values = np.random.default_rng(number).choice(np.array([0, 3, 7], np.uint8), SHAPE)
        write_mask(values, GRID, label)
        found.append(Case(name, name, {"T1": scan}, label))
    return found


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def entries(root):
    return sorted(path.name for path in (root / "toy").iterdir())


def count_fills(monkeypatch):
    """Names of the cases that are preprocessed from now on."""
    filled = []

    def watched(self, volume, mask=None):
        filled.append(Path(volume.source).name)
        return prepare(self, volume, mask)

    prepare = Preparation.__call__
    monkeypatch.setattr(Preparation, "__call__", watched)
    return filled


def test_a_case_holds_the_preprocessed_image_and_class_indices(root, cases):
    case = CaseCache(root, spec(), SETTINGS).open(cases[0])
    prepared = Preparation(SETTINGS)(read_volume([cases[0].images["T1"]]))
    assert (case.image.dtype, case.image.shape) == (np.float16, (1, 6, 7, 16))
    assert isinstance(case.image, np.memmap)
    np.testing.assert_allclose(case.image, prepared.image, atol=2e-3)
    assert case.floor == prepared.image.min()
    assert case.record == prepared.record
    assert isinstance(case.mask, np.memmap)
    values = read_volume(cases[0].label).array[0]
    for index, value in enumerate((0, 3, 7)):  # each slice of 2 mm became two of 1 mm
        np.testing.assert_array_equal(case.mask[..., ::2] == index, values == value)
    assert set(np.unique(case.mask)) == {0, 1, 2}


def test_an_unlabelled_case_has_no_mask(root, cases):
    assert CaseCache(root, spec(), SETTINGS).open(replace(cases[0], label=None)).mask is None


def test_what_is_cached_is_not_done_again(root, cases, monkeypatch):
    filled = count_fills(monkeypatch)
    seen = []
    first = CaseCache(root, spec(), SETTINGS).prepare(cases, 2, lambda *done: seen.append(done))
    assert list(first) == ["a", "b", "c"]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert len(filled) == 3
    again = CaseCache(root, spec(), SETTINGS).prepare(cases)
    assert len(filled) == 3
    assert [case.folder for case in again.values()] == [case.folder for case in first.values()]


def test_the_key_is_the_content_not_the_place_or_the_time(root, cases, tmp_path, monkeypatch):
    CaseCache(root, spec(), SETTINGS).open(cases[0])
    filled = count_fills(monkeypatch)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    scan, label = (Path(shutil.copy(p, moved)) for p in (cases[0].images["T1"], cases[0].label))
    os.utime(scan, (0, 0))
    CaseCache(root, spec(), SETTINGS).open(Case("other", "patient", {"T1": scan}, label))
    assert filled == []


@pytest.mark.parametrize(
    "change",
    [
        *("image", "label", "no label", "settings", "label values", "channels"),
        *("version of MONAI", "version of our transforms"),
    ],
)
def test_whatever_changes_the_result_changes_the_key(root, cases, monkeypatch, change):
    CaseCache(root, spec(), SETTINGS).open(cases[0])
    filled = count_fills(monkeypatch)
    case, declared, settings = cases[0], spec(), SETTINGS
    if change == "image":
        write_volume(image(9), GRID, case.images["T1"])
    elif change == "label":
        write_mask(np.full(SHAPE, 7, np.uint8), GRID, case.label)
    elif change == "no label":
        case = replace(case, label=None)
    elif change == "settings":
        settings = Preprocess.of({"mr": {"intensity": "minmax"}})
    elif change == "label values":
        labels = [{"value": 7, "name": "left"}, {"value": 3, "name": "right"}]
        declared = spec(labels=labels)
    elif change == "version of MONAI":
        monkeypatch.setattr("medssl.transforms.chain.version", lambda name: "99.0")
    elif change == "version of our transforms":
        monkeypatch.setattr("medssl.data.cache.VERSION", 0)
    else:
        # The same two files in the same order, now both as images.
        declared = spec(channels=("T1", "seg"))
        case = replace(case, images=case.images | {"seg": case.label}, label=None)
    CaseCache(root, declared, settings).open(case)
    assert len(filled) == 1
    assert len(entries(root)) == 2


def fill_together(root, cases, barrier):
    barrier.wait()
    CaseCache(root, spec(), SETTINGS).prepare(cases, workers=2)


def test_several_processes_may_fill_it_at_once(root, cases):
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(3)
    workers = [fork.Process(target=fill_together, args=(root, cases, barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(entries(root)) == 3
    assert not any(name.startswith(".part-") for name in entries(root))
    for case in CaseCache(root, spec(), SETTINGS).prepare(cases).values():
        assert case.image.shape == (1, 6, 7, 16)
        assert case.mask.shape == (6, 7, 16)


def die_while_writing(root, cases):
    """The process ends in the middle of the second case's image."""
    save, written = np.save, []

    def dying(path, array):
        written.append(path)
        if len(written) == 3:
            save(path, array[:, :2])
            os.kill(os.getpid(), signal.SIGKILL)
        save(path, array)

    np.save = dying
    CaseCache(root, spec(), SETTINGS).prepare(cases, workers=1)


def test_a_killed_filling_continues_where_it_stopped(root, cases, monkeypatch):
    fork = multiprocessing.get_context("fork")
    killed = fork.Process(target=die_while_writing, args=(root, cases))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    whole = [name for name in entries(root) if not name.startswith(".part-")]
    assert len(whole) == 1
    filled = count_fills(monkeypatch)
    found = CaseCache(root, spec(), SETTINGS).prepare(cases, workers=1)
    assert filled == ["b.nii.gz", "c.nii.gz"]
    assert [case.image.shape for case in found.values()] == [(1, 6, 7, 16)] * 3


def test_a_failure_leaves_nothing_behind(root, cases, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space"):
        CaseCache(root, spec(), SETTINGS).open(cases[0])
    assert entries(root) == []


def shifted(path):
    affine = GRID.affine.copy()
    affine[0, 3] = 5
    write_mask(np.zeros(SHAPE, np.uint8), Geometry(SHAPE, affine), path)


def undeclared(path):
    values = np.zeros(SHAPE, np.uint8)
    values[0, 0, :2] = (4, 9)
    write_mask(values, GRID, path)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:100])


def no_image(path):
    path.write_bytes(gzip.compress(b"text"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shifted, "does not lie on the grid of its image; .*origin"),
        (undeclared, r"holds the values 4, 9; .*declares \[0, 3, 7\]"),
        (cut_short, "a_seg"),
        (no_image, "a_seg"),
        (os.remove, "a_seg.nii.gz does not exist"),
    ],
)
def test_a_label_that_does_not_fit_is_refused(root, cases, damage, words):
    damage(cases[0].label)
    with pytest.raises(DataError, match=words):
        CaseCache(root, spec(), SETTINGS).prepare(cases)


def test_a_missing_image_is_refused(root, cases):
    cases[1].images["T1"].unlink()
    with pytest.raises(DataError, match=r"b\.nii\.gz does not exist"):
        CaseCache(root, spec(), SETTINGS).prepare(cases)


def test_a_missing_channel_is_refused(root, cases):
    with pytest.raises(DataError, match="case a has no file for the channel T2 and FLAIR"):
        CaseCache(root, spec(channels=("T1", "T2", "FLAIR")), SETTINGS).open(cases[0])


@pytest.mark.parametrize("intensity", ["none", "robust_zscore"])
def test_what_half_precision_cannot_hold_stays_in_single(root, cases, intensity):
    """Raw values beyond 65504; and a scan so nearly constant that its background is far away."""
    values = np.full((20, 20, 20), 1000, np.float32)
    values[0] = 0
    values[5, 5, 5] = 1001 if intensity == "robust_zscore" else 1.7e6
    write_volume(values, Geometry(values.shape, np.eye(4)), cases[0].images["T1"])
    settings = Preprocess.of({"mr": {"intensity": intensity}})
    case = CaseCache(root, spec(), settings).open(replace(cases[0], label=None))
    prepared = Preparation(settings)(read_volume([cases[0].images["T1"]]))
    assert np.isfinite(case.image).all()
    np.testing.assert_allclose(case.image, prepared.image, rtol=1e-3)


def test_a_description_says_how_to_undo_it(root, cases):
    case = CaseCache(root, spec(), SETTINGS).open(cases[0])
    kept = json.loads(kept_content(case.folder / "case.json"))
    assert kept.keys() == {"floor", "record", "marked", "raw"}
    assert case.record.source.matches(GRID)
    assert case.record.network.spacing == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("name", ["image.npy", "mask.npy", "case.json"])
def test_a_damaged_entry_is_made_anew(root, cases, name, caplog):
    first = CaseCache(root, spec(), SETTINGS).open(cases[0])
    image, mask, record = np.array(first.image), np.array(first.mask), first.record
    whole = (first.folder / name).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    (first.folder / name).write_bytes(flipped)
    again = CaseCache(root, spec(), SETTINGS).open(cases[0])
    assert f"{name} is damaged, and is made anew" in caplog.text
    np.testing.assert_array_equal(again.image, image)
    np.testing.assert_array_equal(again.mask, mask)
    assert again.record == record
    assert (again.folder / name).read_bytes() == whole
    assert len(entries(root)) == 1


def test_an_entry_without_one_of_its_files_is_made_anew(root, cases):
    first = CaseCache(root, spec(), SETTINGS).open(cases[0])
    (first.folder / "mask.npy").unlink()
    assert CaseCache(root, spec(), SETTINGS).open(cases[0]).mask is not None


def test_an_image_that_is_the_same_everywhere_is_refused(root, cases):
    write_volume(np.full(SHAPE, 5.0), GRID, cases[1].images["T1"])
    with pytest.raises(DataError, match=r"b\.nii\.gz has the value 5 in every voxel"):
        CaseCache(root, spec(), SETTINGS).open(cases[1])


def test_a_mask_that_marks_nothing_is_refused_unless_it_is_meant_so(root, cases):
    write_mask(np.zeros(SHAPE, np.uint8), GRID, cases[1].label)
    meant = spec(empty_masks=True)
    assert not CaseCache(root, meant, SETTINGS).open(cases[1]).marked
    assert CaseCache(root, meant, SETTINGS).open(cases[0]).marked
    for _ in range(2):  # also where it is cached already
        with pytest.raises(DataError, match=r"b_seg\.nii\.gz marks no voxel"):
            CaseCache(root, spec(), SETTINGS).open(cases[1])


def test_the_first_fault_is_told_with_the_number_of_the_others(root, cases):
    write_volume(np.full(SHAPE, 5.0), GRID, cases[0].images["T1"])
    cases[2].images["T1"].unlink()
    with pytest.raises(DataError) as caught:
        CaseCache(root, spec(), SETTINGS).prepare(cases)
    assert "a.nii.gz has the value 5 in every voxel; 1 more case is wrong" in str(caught.value)
    assert "`medssl data check toy` lists all" in str(caught.value)
    assert len(entries(root)) == 1  # the sound one is prepared for the next try


def test_a_case_that_memory_does_not_hold_is_named(root, cases, monkeypatch):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(Preparation, "__call__", exhausted)
    with pytest.raises(DataError, match=r"case a does not fit into the memory.*2 more cases are"):
        CaseCache(root, spec(), SETTINGS).prepare(cases)


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_voxels_beside_a_header_are_content_too(root, cases, tmp_path, monkeypatch, ending):
    import SimpleITK

    def store(number):
        scan = SimpleITK.GetImageFromArray(image(number))
        SimpleITK.WriteImage(scan, str(tmp_path / f"beside{ending}"))

    store(0)
    header = (tmp_path / f"beside{ending}").read_bytes()
    case = Case("x", "x", {"T1": tmp_path / f"beside{ending}"})
    first = CaseCache(root, spec(), SETTINGS).open(case).image
    before = fingerprint([case])
    store(1)
    assert (tmp_path / f"beside{ending}").read_bytes() == header
    assert not np.array_equal(CaseCache(root, spec(), SETTINGS).open(case).image, first)
    assert fingerprint([case]) != before


def test_where_classes_lie_is_found_once_and_kept(root, cases, monkeypatch, caplog):
    calls = []

    def counted(mask):
        calls.append(mask.shape)
        return find_class_voxels(mask)

    monkeypatch.setattr(cache, "find_class_voxels", counted)
    case = CaseCache(root, spec(), SETTINGS).open(cases[0])
    assert calls == []
    np.testing.assert_array_equal(case.class_voxels, find_class_voxels(np.array(case.mask)))
    assert isinstance(case.class_voxels, np.memmap)
    cache._class_voxels.cache_clear()  # as another process would meet it
    assert len(case.class_voxels) > 0
    assert len(calls) == 1
    path = case.folder / "class_voxels.npy"
    damaged = bytearray(path.read_bytes())
    damaged[-60] ^= 4
    path.write_bytes(damaged)
    cache._class_voxels.cache_clear()
    np.testing.assert_array_equal(case.class_voxels, find_class_voxels(np.array(case.mask)))
    assert "class_voxels.npy is damaged, and is made anew" in caplog.text
    assert len(calls) == 2


def test_a_case_without_a_label_has_no_classes(root, cases):
    case = CaseCache(root, spec(), SETTINGS).open(replace(cases[0], label=None))
    with pytest.raises(DataError, match="case a has no label"):
        _ = case.class_voxels
