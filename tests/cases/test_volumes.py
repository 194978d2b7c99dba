"""Volumes from outside: their numbers and places are those that independent readers find."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from medssl.data.volume import read_geometry, read_mask, read_volume
from medssl.errors import DataError
from tests.conftest import Medssl


def test_every_slice_is_rescaled_by_its_own_header(inputs: Path) -> None:
    folder = inputs / "dicom_rescale_varies" / "ct_first_0_later_1024"
    volume = read_volume(folder)
    slices = sorted(
        map(pydicom.dcmread, folder.iterdir()), key=lambda one: one.ImagePositionPatient[2]
    )
    stack = [
        (one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)).T
        for one in slices
    ]
    np.testing.assert_array_equal(volume.array[0], np.stack(stack, axis=-1))
    assert volume.array.min() == -1019
    assert volume.array.max() == 103


def test_a_volume_in_microns_lies_where_the_same_volume_in_mm_does(inputs: Path) -> None:
    micron = read_geometry(inputs / "nifti_units" / "unit_micron.nii.gz")
    mm = read_geometry(inputs / "nifti_units" / "unit_mm.nii.gz")
    assert micron.spacing == pytest.approx((2, 1.5, 2.5), rel=1e-5)
    assert micron.matches(mm)


@pytest.mark.parametrize("name", ["unit_mm", "unit_micron"])
def test_a_mask_keeps_the_units_of_its_scan(
    inputs: Path, one_channel_checkpoint: Path, medssl: Medssl, tmp_path: Path, name: str
) -> None:
    scan = inputs / "nifti_units" / f"{name}.nii.gz"
    assert medssl("predict", one_channel_checkpoint, scan, "--out", tmp_path / "o")[0] == 0
    given, made = nibabel.load(scan).header, nibabel.load(tmp_path / "o" / scan.name).header
    assert made.get_xyzt_units()[0] == given.get_xyzt_units()[0]
    np.testing.assert_allclose(made.get_zooms()[:3], given.get_zooms()[:3], rtol=1e-6)


@pytest.mark.parametrize("name", ["q0_s0", "q1_s2_differ"])
def test_nibabel_and_itk_lay_a_mask_over_its_scan(
    inputs: Path, one_channel_checkpoint: Path, medssl: Medssl, tmp_path: Path, name: str
) -> None:
    scan = inputs / "nifti_two_transforms" / f"{name}.nii.gz"
    assert medssl("predict", one_channel_checkpoint, scan, "--out", tmp_path / "o")[0] == 0
    for made in (tmp_path / "o" / scan.name, tmp_path / "o" / f"{name}_entropy.nii.gz"):
        given, got = nibabel.load(scan), nibabel.load(made)
        np.testing.assert_allclose(got.affine, given.affine, atol=1e-4)
        assert got.header.get_xyzt_units()[0] == given.header.get_xyzt_units()[0]
        for transform in ("get_qform", "get_sform"):
            affines = [getattr(image.header, transform)(coded=True) for image in (given, got)]
            assert affines[0][1] == affines[1][1]
            if affines[0][0] is not None:
                np.testing.assert_allclose(affines[1][0], affines[0][0], atol=1e-4)
        given, got = sitk.ReadImage(str(scan)), sitk.ReadImage(str(made))
        np.testing.assert_allclose(got.GetOrigin(), given.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(got.GetDirection(), given.GetDirection(), atol=1e-5)
        np.testing.assert_allclose(got.GetSpacing(), given.GetSpacing(), atol=1e-5)


def test_a_series_beside_a_nifti_file_is_told_not_guessed(
    inputs: Path, one_channel_checkpoint: Path, medssl: Medssl, tmp_path: Path
) -> None:
    folder = inputs / "dicom_folder_with_nifti" / "has_nii"
    code, _, error = medssl("predict", one_channel_checkpoint, folder, "--out", tmp_path / "o")
    assert code == 3
    assert "earlier_mask.nii.gz" in error
    assert "DICOM" in error
    assert not list((tmp_path / "o").glob("*.nii.gz"))


def test_the_check_of_such_a_folder_says_the_same(inputs: Path, medssl: Medssl) -> None:
    code, _, error = medssl("data", "check", inputs / "dicom_folder_with_nifti" / "has_nii", "-q")
    assert code == 3
    assert "DICOM" in error
    assert "earlier_mask.nii.gz" in error


def test_a_slice_without_preamble_belongs_to_its_volume(inputs: Path) -> None:
    folder = inputs / "dicom_end_slice_unreadable" / "nopre_last"
    volume = read_volume(folder)
    assert volume.array.shape[-1] == 8
    headers = [pydicom.dcmread(path, force=True) for path in sorted(folder.iterdir())]
    for one in headers:
        one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    slices = {
        float(one.ImagePositionPatient[2]): one.pixel_array * float(one.get("RescaleSlope", 1))
        + float(one.get("RescaleIntercept", 0))
        for one in headers
    }
    stack = np.stack([slices[place] for place in sorted(slices)], axis=-1).transpose(1, 0, 2)
    np.testing.assert_allclose(volume.array[0], stack, atol=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        "empty_ImageOrientationPatient",
        "empty_ImagePositionPatient",
        "empty_PixelSpacing",
        "miss_ImageOrientationPatient",
        "miss_SeriesInstanceUID",
        "multiframe_with_position",
    ],
)
def test_a_series_with_a_missing_or_empty_tag_gets_a_sentence(inputs: Path, name: str) -> None:
    folder = inputs / "dicom_unexpected_errors" / name
    with pytest.raises(DataError, match=name):
        read_volume(folder)


def test_the_check_of_a_data_set_goes_on_after_a_bad_series(
    inputs: Path, medssl: Medssl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(inputs / "dicom_unexpected_errors"))
    code, out, _ = medssl("data", "check", inputs / "dicom_unexpected_errors" / "spec.yaml", "-q")
    assert code == 3
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "multiframe_with_position" in errors[0]
    assert "absent" in errors[1]


def test_rgb_volumes_and_undeclared_values_both_get_their_verdict(
    inputs: Path, medssl: Medssl
) -> None:
    code, out, _ = medssl("data", "check", inputs / "nifti_rgb" / "dataset", "-q")
    assert code == 3
    verdicts = [line for line in out.splitlines() if line.startswith(("error: ", "warning: "))]
    assert any("la_001" in line and "3 channels" in line for line in verdicts)
    assert any("la_002" in line and "holds 7" in line for line in verdicts)
    assert not any("la_000" in line for line in verdicts)


def test_channels_on_the_fifth_axis_are_read_for_every_type(inputs: Path) -> None:
    whole = read_volume(inputs / "nifti_5d_integer" / "d5_1_2.nii.gz")
    real = read_volume(inputs / "nifti_5d_integer" / "d5_1_2f.nii.gz")
    assert len(whole.array) == len(real.array) == 2
    np.testing.assert_array_equal(whole.array, real.array)


def test_a_nearly_whole_mask_is_rounded(inputs: Path) -> None:
    mask = read_mask(inputs / "masks_nearly_whole" / "m_09999.nii.gz")
    given = np.asanyarray(nibabel.load(inputs / "masks_nearly_whole" / "m_09999.nii.gz").dataobj)
    np.testing.assert_array_equal(mask.array[0], given > 0.5)


def test_a_mask_with_nan_outside_is_refused_and_the_nan_is_named(inputs: Path) -> None:
    with pytest.raises(DataError, match="NaN"):
        read_mask(inputs / "masks_nearly_whole" / "m_nanbg.nii.gz")


def test_monochrome1_is_about_display_and_turns_no_value(inputs: Path) -> None:
    folder = inputs / "ct_monochrome1" / "monochrome1"
    headers = [pydicom.dcmread(path) for path in folder.iterdir()]
    slices = sorted(headers, key=lambda one: float(one.ImagePositionPatient[2]))
    stack = np.stack([one.pixel_array.T for one in slices], axis=-1)
    np.testing.assert_array_equal(read_volume(folder).array[0], stack)
    assert stack.min() == 2


def test_hidden_files_are_passed_over_and_nhdr_is_read(
    inputs: Path, one_channel_checkpoint: Path, medssl: Medssl, tmp_path: Path
) -> None:
    given = inputs / "predict_folder_appledouble"
    code, _, error = medssl(
        "predict", one_channel_checkpoint, given / "case_apple", given / "obl.nhdr",
        "--out", tmp_path / "o",
    )  # fmt: skip
    assert code == 0, error
    assert (tmp_path / "o" / "case_apple.nii.gz").is_file()
    assert (tmp_path / "o" / "obl.nii.gz").is_file()


def test_the_check_passes_over_hidden_files_and_reads_nhdr(inputs: Path, medssl: Medssl) -> None:
    folder = inputs / "predict_folder_appledouble"
    code, out, _ = medssl("data", "check", folder, "-q")
    assert code == 0
    assert "errors 0" in out
    assert "._t1" not in out
    (warning,) = [line for line in out.splitlines() if line.startswith("warning: ")]
    assert "case_apple/t1.nii.gz is not used" in warning


def test_a_tilted_grid_that_viewers_cannot_open_as_nifti_is_said_and_written_as_nrrd(
    inputs: Path, one_channel_checkpoint: Path, medssl: Medssl, tmp_path: Path
) -> None:
    scan = inputs / "predict_tilted_ct" / "tilted"
    code, _, error = medssl("predict", one_channel_checkpoint, scan, "--out", tmp_path / "o")
    assert code == 0
    assert "tilted" in error
    assert "nrrd" in error
    code, _, _ = medssl(
        "predict", one_channel_checkpoint, scan, "--out", tmp_path / "p", "--format", "nrrd"
    )
    assert code == 0
    (mask,) = (path for path in (tmp_path / "p").glob("study_*.nrrd") if "entropy" not in path.name)
    assert sitk.ReadImage(str(mask)).GetSize() == read_geometry(scan).shape
    assert read_geometry(mask).matches(read_geometry(scan))
