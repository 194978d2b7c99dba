"""Sessions of scans: grouped by grid, numbered by patient, incomplete as they come."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medssl.data.cache import CaseCache
from medssl.data.geometry import Geometry
from medssl.data.layouts import find_cases
from medssl.data.scan.sessions import Sessions, prepare_sessions
from medssl.data.scan.settings import AffineSettings, PairSettings
from medssl.data.scan.stream import PairStream, single_scans
from medssl.data.spec import Case, DataSpec, load_spec
from medssl.data.volume import write_volume
from medssl.errors import DataError, UsageError
from medssl.transforms.chain import Preprocess
from tests.data.conftest import GRID, SHAPE, declare, image

PLAIN = Preprocess.of("mr")
PAIRS = PairSettings()
AFFINE = AffineSettings()
OTHER = GRID.cropped((1, 0, 0), (6, 7, 8))
MIRRORED, MIRRORED_BY = GRID.oriented("LPS")
FINE = GRID.reshaped((6, 7, 16))


@pytest.fixture
def make(tmp_path):
    """Writes a session: its scans by name, each with its grid."""
    seeds = iter(range(100))

    def session(case: str, patient: str = "", on: str = "", **grids: Geometry) -> Case:
        images = {}
        for name, grid in grids.items():
            images[name] = tmp_path / case / f"{name}.nii.gz"
            write_volume(image(next(seeds), grid.shape), grid, images[name])
        return Case(case, patient or case, images, session=on)

    return session


def spec(name: str = "toy", *channels: str, **keys) -> DataSpec:
    return declare(Path("toy"), name=name, channels=channels or ("t1", "t2", "flair"), **keys)


def prepare(tmp_path, *cases: Case, settings=PLAIN, of=None) -> Sessions:
    return prepare_sessions([(of or spec(), cases)], settings, tmp_path / "cache")


def test_scans_on_one_grid_are_a_group_and_all_its_pairs_are_possible(tmp_path, make):
    found = prepare(tmp_path, make("a", t1=GRID, t2=GRID, flair=GRID))
    (group,) = found.groups
    assert (group.id, group.patient, group.contrasts) == ("toy/a", 1, (0, 1, 2))
    assert group.pairs(True) == ((0, 1), (0, 2), (1, 2))
    assert found.contrasts == ("t1", "t2", "flair")
    assert found.dropped(PAIRS) == ""


def test_volumes_are_those_of_the_cache_in_half_precision(tmp_path, make):
    case = make("a", t1=GRID, t2=GRID)
    (group,) = prepare(tmp_path, case).groups
    cached = CaseCache(tmp_path / "cache", spec("toy", "t1", "t2"), PLAIN).open(case)
    for scan in range(2):
        volume = group.volume(scan)
        assert (volume.shape, volume.dtype) == (SHAPE, np.float16)
        np.testing.assert_array_equal(volume, cached.image[scan])


def test_missing_sequences_are_normal(tmp_path, make):
    found = prepare(tmp_path, make("a", t2=GRID), make("b", flair=GRID, t1=GRID))
    assert [group.contrasts for group in found.groups] == [(1,), (2, 0)]
    assert [len(group.pairs(True)) for group in found.groups] == [0, 1]


def test_a_label_is_never_read(tmp_path, make):
    case = replace(make("a", t1=GRID), label=tmp_path / "gone.nii.gz")
    assert len(prepare(tmp_path, case).groups) == 1


def test_unknown_contrasts_are_scans_that_are_in_no_pair(tmp_path, make):
    (group,) = prepare(tmp_path, make("a", t1=GRID, t2=GRID, pet=GRID, scan=GRID)).groups
    assert group.contrasts == (0, 1, -1, -1)
    assert group.pairs(True) == group.pairs(False) == ((0, 1),)


def test_two_scans_of_one_contrast_are_a_pair_only_where_asked(tmp_path, make):
    case = make("a", **{"t1": GRID, "t1#2": GRID})
    (group,) = prepare(tmp_path, case).groups
    assert group.contrasts == (0, 0)
    assert (group.pairs(True), group.pairs(False)) == ((), ((0, 1),))


def test_another_grid_makes_no_pair_but_a_single_scan(tmp_path, make):
    found = prepare(tmp_path, make("a", t1=GRID, t2=GRID, flair=OTHER))
    assert [group.scans for group in found.groups] == [("t1", "t2"), ("flair",)]
    assert {group.id for group in found.groups} == {"toy/a"}
    assert [group.volume(0).shape for group in found.groups] == [SHAPE, (5, 7, 8)]
    sentence = found.dropped(PAIRS)
    assert sentence.startswith("2 of 3 pairs are left out, as their scans lie on different grids")
    assert "a/flair.nii.gz and " in sentence
    assert "a/t1.nii.gz: shape 5x7x8 against 6x7x8" in sentence


def test_only_what_else_were_a_pair_counts_as_dropped(tmp_path, make):
    case = make("a", **{"t1": GRID, "t1#2": OTHER, "pet": OTHER})
    found = prepare(tmp_path, case)
    assert found.dropped(PAIRS) == ""
    assert found.dropped(PairSettings(contrasts_differ=False)).startswith("1 of 1 pairs")


def test_a_shift_by_a_tenth_of_a_millimetre_is_another_grid_and_rounding_is_none(tmp_path, make):
    shifted, rounded = GRID.affine.copy(), GRID.affine.copy()
    shifted[0, 3] += 0.1
    rounded[0, 3] += 0.001
    case = make("a", t1=GRID, t2=Geometry(SHAPE, rounded), flair=Geometry(SHAPE, shifted))
    assert [g.scans for g in prepare(tmp_path, case).groups] == [("t1", "t2"), ("flair",)]


@pytest.mark.parametrize("grid", [MIRRORED, FINE], ids=["orientation", "spacing"])
def test_grids_that_agree_once_oriented_and_resampled_are_one(tmp_path, make, grid):
    settings = Preprocess.of({"mr": {"spacing": (1, 1, 1), "crop_foreground": True}})
    case = make("a", t1=GRID, t2=grid)
    (group,) = prepare(tmp_path, case, settings=settings).groups
    assert group.volume(0).shape == group.volume(1).shape == (6, 7, 16)
    apart = prepare(tmp_path, case, settings=Preprocess.of({"mr": {"orientation": None}}))
    assert len(apart.groups) == 2


def test_oriented_scans_show_the_same_place(tmp_path, make):
    """One scan, stored twice: as it is, and with its axes the other way round."""
    case = make("a", t1=GRID, t2=GRID)
    write_volume(image(7), GRID, case.images["t1"])
    write_volume(MIRRORED_BY.apply(image(7)[None])[0], MIRRORED, case.images["t2"])
    (group,) = prepare(tmp_path, case).groups
    np.testing.assert_array_equal(group.volume(0), group.volume(1))


def test_cropping_and_resampling_act_on_all_scans_of_a_grid_alike(tmp_path, make):
    case = make("a", t1=GRID, t2=GRID)
    for name, x in (("t1", 2), ("t2", 4)):
        array = np.zeros(SHAPE, np.float32)
        array[x, 3] = image(x)[x, 3]
        write_volume(array, GRID, case.images[name])
    settings = Preprocess.of({"mr": {"crop_foreground": True, "spacing": (1, 1, 1)}})
    (group,) = prepare(tmp_path, case, settings=settings).groups
    assert group.volume(0).shape == group.volume(1).shape == (3, 1, 16)


def test_patients_are_numbered_from_1_over_all_data_sets(tmp_path, make):
    first = [make("a1", "p", "1", t1=GRID), make("a2", "p", "2", t1=GRID)]
    second = [make("b1", "p", t2=GRID), make("b2", "q", t2=GRID)]
    sources = [(spec("one", "t1"), first), (spec("two", "t2"), second)]
    found = prepare_sessions(sources, PLAIN, tmp_path / "cache")
    assert [group.patient for group in found.groups] == [1, 1, 2, 3]
    assert found.patients == ("one/p", "two/p", "two/q")
    assert [group.id for group in found.groups] == ["one/a1", "one/a2", "two/b1", "two/b2"]
    assert [group.contrasts for group in found.groups] == [(0,), (0,), (1,), (1,)]


def test_cases_of_one_patient_and_session_are_one_session(tmp_path, make):
    cases = [
        make("a", "p", "2020", t1=GRID),
        make("b", "p", "2020", t1=GRID, t2=GRID),
        make("c", "p", "2021", t2=GRID),
        make("d", "p", t1=GRID),
        make("e", "p", t1=GRID),
    ]
    found = prepare(tmp_path, *cases)
    assert [(group.id, group.scans) for group in found.groups] == [
        ("toy/a", ("t1", "t1#2", "t2")),
        ("toy/c", ("t2",)),
        ("toy/d", ("t1",)),
        ("toy/e", ("t1",)),
    ]
    assert {group.patient for group in found.groups} == {1}


def test_scans_may_share_a_file_with_channels(tmp_path):
    import nibabel

    array = np.stack([image(seed) for seed in range(2)], axis=-1)
    path = tmp_path / "both.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array, GRID.affine), path)
    write_volume(image(2), GRID, tmp_path / "t2.nii.gz")
    case = Case("a", "a", {"t1": path, "t2": tmp_path / "t2.nii.gz", "flair": path})
    (group,) = prepare(tmp_path, case).groups
    assert group.scans == ("t1", "flair", "t2")
    settings = Preprocess.of({"mr": {"intensity": "none"}})
    (raw,) = prepare(tmp_path, case, settings=settings).groups
    for scan in range(3):
        np.testing.assert_array_equal(raw.volume(scan), image(scan))
    with pytest.raises(DataError, match=r"both\.nii\.gz has 2 channels instead of 1"):
        prepare(tmp_path, Case("b", "b", {"t1": path}))


def test_a_data_set_named_twice_is_refused(tmp_path, make):
    case = make("a", t1=GRID)
    with pytest.raises(UsageError, match="toy is named twice"):
        prepare_sessions([(spec(), [case]), (spec(), [case])], PLAIN, tmp_path)


def test_no_scan_at_all_is_refused(tmp_path):
    with pytest.raises(DataError, match="toy hold no scan"):
        prepare(tmp_path)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def not_finite(path: Path) -> None:
    array = image()
    array[0, 0, 0] = np.nan
    write_volume(array, GRID, path)


@pytest.mark.parametrize("damage", [Path.unlink, cut_short, not_finite])
def test_a_damaged_file_is_named_alone(tmp_path, make, damage):
    case = make("a", t1=GRID, t2=GRID, flair=GRID)
    damage(case.images["t2"])
    with pytest.raises(DataError, match=r"a/t2\.nii\.gz") as caught:
        prepare(tmp_path, case)
    assert "t1.nii.gz" not in str(caught.value)


def test_what_is_prepared_is_counted(tmp_path, make):
    seen = []
    cases = [make("a", t1=GRID), make("b", t1=GRID)]
    prepare_sessions(
        [(spec(), cases)], PLAIN, tmp_path / "cache", 1, lambda *done: seen.append(done)
    )
    assert seen == [(1, 2), (2, 2)]


def test_one_patient_alone_cannot_be_contrasted(tmp_path, make):
    found = prepare(tmp_path, make("a", "p", t1=GRID, t2=GRID), make("b", "q", t1=GRID))
    with pytest.raises(DataError, match=r"at least two patients.*only those of one.*arm=mim"):
        found.require_pairs(PAIRS)
    more = prepare(tmp_path, make("c", "p", t1=GRID, t2=GRID), make("d", "q", t1=GRID, t2=GRID))
    more.require_pairs(PAIRS)


def test_no_pair_at_all_says_why(tmp_path, make):
    apart = prepare(tmp_path, make("a", t1=GRID, t2=OTHER), make("b", t1=GRID, t2=OTHER))
    with pytest.raises(DataError, match=r"there are none; 2 of 2 pairs are left out.*grids"):
        apart.require_pairs(PAIRS)
    alone = prepare(tmp_path, make("c", t1=GRID), make("d", t2=GRID))
    with pytest.raises(DataError, match="a pair is two scans of different contrasts of one sess"):
        alone.require_pairs(PAIRS)
    with pytest.raises(DataError, match="can be a pair"):
        PairStream(alone.groups, PAIRS, AFFINE, (4, 4, 4), 2, 0)


def test_real_sessions_of_two_data_sets(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_DATA", str(shared_data))
    lgg = load_spec("lgg_lesions")
    sources = [(load_spec("ms_lesions"), None), (lgg, find_cases(lgg)[:3])]
    sources = [(one, cases or find_cases(one)) for one, cases in sources]
    settings = Preprocess.of({"mr": {"crop_foreground": True}})
    found = prepare_sessions(sources, settings, tmp_path / "cache")
    assert found.contrasts == ("t1", "t2", "flair", "t1c")
    assert len(found.groups) == 9 + 3
    assert len(found.patients) == 7 + 3
    assert found.apart == ()
    assert [len(group.pairs(True)) for group in found.groups] == [6] * 3 + [3] * 9
    assert single_scans(found.groups, PAIRS) == []
    found.require_pairs(PAIRS)
    both = [g.patient for g in found.groups if "patient01" in g.id]
    assert len(both) == 2
    assert len(set(both)) == 1
    batch = PairStream(found.groups, PAIRS, AFFINE, (32, 32, 32), 4, 0).batch(0)
    assert batch.windows().shape == (4, 2, 1, 32, 32, 32)
    assert batch.damaged() == ()


def test_real_data_for_segmentation_still_refuse_missing_channels(
    shared_data, tmp_path, monkeypatch
):
    monkeypatch.setenv("MEDSSL_DATA", str(shared_data))
    ms = load_spec("ms_lesions")
    cases = find_cases(ms)
    assert [case.id for case in cases if case.label] == [f"cs_patient{n}" for n in ("07", 19, 26)]
    assert [case.session for case in cases[:5]] == ["", "", "", "study1", "study2"]
    with pytest.raises(DataError, match="long_patient01_study1 has no file for the channel t1c"):
        CaseCache(tmp_path, ms, PLAIN).open(cases[3])


def test_scans_that_cannot_be_used_are_counted_after_all_were_looked_at(tmp_path, make):
    cases = [make(name, t1=GRID) for name in "abc"]
    cases[0].images["t1"].write_bytes(b"no image")
    write_volume(np.full(SHAPE, 3.0), GRID, cases[2].images["t1"])
    with pytest.raises(DataError, match=r"a/t1\.nii\.gz.*1 more case is wrong.*data check toy"):
        prepare(tmp_path, *cases)
