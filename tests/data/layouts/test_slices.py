"""Slices of volumes as pictures: what they show, which are taken, and whose they are."""

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.layouts import find_cases
from medssl.data.spec import make_spec
from medssl.data.volume import read_mask, read_volume, write_mask, write_volume
from medssl.errors import UsageError

SHAPE = (6, 5, 4)


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """`spec(every=2)`: the slices of one volume in LAS axes, marked on its slices 1 to 3."""
    monkeypatch.setenv("MEDSSL_DATA", str(tmp_path))
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    grid = Geometry(SHAPE, np.diag([-0.5, 2.0, 3.0, 1.0]))
    scan = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 3, 1:] = 7
    (tmp_path / "vols").mkdir()
    write_volume(scan, grid, tmp_path / "vols" / "p1.nii.gz")
    write_mask(mask, grid, tmp_path / "vols" / "p1_seg.nii.gz")
    (tmp_path / "vols.yaml").write_text(
        "title: V\nmodality: MR\nchannels: [t1]\nlabels: [{value: 7, name: a}]\nroot: vols\n"
        'layout: {kind: glob, images: {t1: "{case}.nii.gz"}, label: "{case}_seg.nii.gz"}\n'
        "licence: CC0\ncitation: none\n"
    )

    def make(**keys):
        plain = {
            "name": "slices",
            "title": "S",
            "modality": "MR",
            "channels": ["t1"],
            "labels": [{"value": 7, "name": "a"}],
            "root": "slices",
            "layout": {"kind": "slices", "of": str(tmp_path / "vols.yaml"), **keys},
            "licence": "CC0",
            "citation": "none",
        }
        return make_spec(plain, "the test")

    return make


def test_a_slice_hangs_as_radiologists_see_it(spec):
    cases = find_cases(spec())
    assert [(case.id, case.patient) for case in cases] == [(f"p1_00{k}", "p1") for k in (1, 2, 3)]
    scan = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    shown = read_volume(cases[0].images["t1"])
    # Left is on the right, which x already is; anterior is up, so y is turned round.
    expected = scan[:, ::-1, 1] / scan.max() * 65535
    assert np.abs(shown.array[0, :, :, 0] - expected).max() <= 0.5
    assert shown.geometry.spacing == pytest.approx((0.5, 2.0, 1.0))
    mask = read_mask(cases[0].label).array[0, :, :, 0]
    assert np.argwhere(mask).tolist() == [[2, 5 - 1 - 3]]
    assert mask.max() == 7


def test_slices_can_be_thinned_and_taken_without_a_mark(spec):
    assert [case.id for case in find_cases(spec(every=2))] == ["p1_001", "p1_003"]
    assert len(find_cases(spec(marked=False))) == SHAPE[2]
    assert len(find_cases(spec(plane="sagittal", marked=False))) == SHAPE[0]


def test_a_channel_that_the_volumes_lack_is_named(spec):
    one = spec().model_copy(update={"channels": ("t2",)})
    with pytest.raises(UsageError, match=r"the channel 't2' of slices is none of vols; .*t1"):
        find_cases(one)
