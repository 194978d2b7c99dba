"""NIfTI headers: units, scaling, axes, claims; and masks that lie where their images lie."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from medssl.data.blocks import LARGEST
from medssl.data.geometry import Geometry
from medssl.data.volume import read_geometry, read_mask, read_volume, write_mask, write_volume
from medssl.errors import DataError

SHAPE = (5, 6, 7)
OBLIQUE = np.array([[1.6, -0.9, 0, 7], [1.2, 1.2, 0, -30], [0, 0, -2.5, 12], [0, 0, 0, 1]])
AFFINE = np.array([[-2.0, 0, 0, 11], [0, 0, 2.5, -9], [0, 1.5, 0, 4], [0, 0, 0, 1]])


def numbers(shape: tuple[int, ...] = SHAPE, kind: str = "i2") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape, order="F").astype(kind)


def saved(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE, **fields: object) -> Path:
    """A NIfTI-1 file whose header then gets `fields`, whatever they are."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_sform(affine, 1)
    header.set_qform(affine, 1, strip_shears=True)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + bytes(4) + array.tobytes(order="F")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(("unit", "size"), [(1, 1000), (2, 1), (3, 0.001), (0, 1), (10, 1)])
def test_places_are_millimetres_whatever_unit_the_file_has(tmp_path, unit, size):
    affine = AFFINE.copy()
    affine[:3] /= size
    path = saved(tmp_path / "image.nii.gz", numbers(), affine, xyzt_units=unit)
    for geometry in (read_geometry(path), read_volume(path).geometry):
        np.testing.assert_allclose(geometry.affine, AFFINE, rtol=1e-6)
        np.testing.assert_allclose(geometry.spacing, (2, 1.5, 2.5), rtol=1e-6)


@pytest.mark.parametrize("kind", ["i2", "f4"])
@pytest.mark.parametrize(
    ("slope", "intercept", "found"),
    [(0, 5, 3), (np.nan, np.nan, 3), (1, 0, 3), (2, 1, 7), (-1, 0, -3), (1, 5, 8)],
)
def test_a_slope_of_zero_is_none_and_every_other_is_applied(
    tmp_path, kind, slope, intercept, found
):
    path = saved(tmp_path / "a.nii.gz", numbers(kind=kind), scl_slope=slope, scl_inter=intercept)
    array = read_volume(path).array
    assert array[0, 3, 0, 0] == found
    np.testing.assert_array_equal(array[0], nibabel.load(path).get_fdata(dtype=np.float32))


@pytest.mark.parametrize(("slope", "intercept"), [(np.inf, 0), (1, np.nan), (1, -np.inf)])
def test_a_rescaling_that_is_not_finite_is_named(tmp_path, slope, intercept):
    path = saved(tmp_path / "a.nii", numbers(), scl_slope=slope, scl_inter=intercept)
    with pytest.raises(DataError, match=r"its header rescales voxels by .* repair scl_slope"):
        read_volume(path)


@pytest.mark.parametrize("colours", ["RGB", "RGBA"])
@pytest.mark.parametrize("more", [(), (1, 1)])
def test_colours_are_channels(tmp_path, colours, more):
    kind = np.dtype([(colour, "u1") for colour in colours])
    array = np.arange(210 * len(colours)).astype("u1").view(kind).reshape((*SHAPE, *more))
    path = saved(tmp_path / "colours.nii.gz", array)
    found = read_volume(path).array
    assert found.shape == (len(colours), *SHAPE)
    for channel, colour in zip(found, colours, strict=True):
        np.testing.assert_array_equal(channel, array[colour].reshape(SHAPE))
    with pytest.raises(DataError, match=f"is not a mask; it has {len(colours)} channels"):
        read_mask(path)


def test_complex_numbers_are_refused(tmp_path):
    path = saved(tmp_path / "complex.nii", numbers(kind="c8"))
    for read in (read_volume, read_mask, read_geometry):
        with pytest.raises(DataError, match=r"complex numbers; .*; save the magnitude instead"):
            read(path)


@pytest.mark.parametrize("kind", ["u1", "i2", "f4"])
def test_axes_of_one_voxel_do_not_count_for_any_type(tmp_path, kind):
    for more, channels in {
        (1,): 1,
        (1, 2): 2,
        (2,): 2,
        (2, 1): 2,
        (1, 1, 3): 3,
        (1, 1, 1, 1): 1,
    }.items():
        array = numbers((*SHAPE, *more), kind)
        found = read_volume(saved(tmp_path / "axes.nii.gz", array)).array
        expected = np.moveaxis(array.reshape(*SHAPE, channels), -1, 0)
        np.testing.assert_array_equal(found, expected.astype(np.float32))
    path = saved(tmp_path / "axes.nii.gz", numbers((*SHAPE, 2, 3), kind))
    with pytest.raises(DataError, match="not a volume; it has 5 axes of 5x6x7x2x3 voxels"):
        read_volume(path)


@pytest.mark.parametrize("kind", ["i2", "f4"])
@pytest.mark.parametrize("build", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_both_versions_and_byte_orders_are_read_as_nibabel_reads_them(tmp_path, build, kind):
    for order in "<>":
        image = build(numbers(kind=kind), AFFINE, build.header_class(endianness=order))
        nibabel.save(image, tmp_path / "a.nii.gz")
        volume = read_volume(tmp_path / "a.nii.gz")
        np.testing.assert_array_equal(volume.array[0], numbers())
        np.testing.assert_array_equal(volume.geometry.affine, AFFINE)


def test_a_file_that_is_not_packed_despite_its_name_is_read(tmp_path):
    path = saved(tmp_path / "a.nii", numbers()).rename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(path).array[0], numbers())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": [3, -5, 6, 7, 1, 1, 1, 1]}, "claims -5x6x7 voxels"),
        ({"dim": [3, 5, 6, 0, 1, 1, 1, 1]}, "claims 5x6x0 voxels"),
        ({"dim": [2, 5, 42, 1, 1, 1, 1, 1]}, "it has 2 axes"),
        ({"dim": [9, 5, 6, 7, 1, 1, 1, 1]}, "its header counts 9 axes"),
        ({"dim": [0, 5, 6, 7, 1, 1, 1, 1]}, "its header counts 0 axes"),
        ({"datatype": 1}, "data code 1 not supported"),
        ({"datatype": 999}, "data code 999 not recognized"),
        ({"magic": b"ni1"}, "one half of a pair, its voxels lie in an .img file"),
        ({"magic": b"abc"}, "magic string"),
        ({"vox_offset": np.nan}, "cannot be read"),
        ({"vox_offset": 1e9}, "voxels begin at byte 1000000000"),
        ({"vox_offset": 0}, "voxels begin at byte 0"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "no valid grid; the affine is not a finite"),
        ({"srow_x": [0, 0, 0, 0]}, "no valid grid"),
        ({"srow_x": [1e9, 0, 0, 0]}, "no valid grid; the voxels measure"),
    ],
)
def test_a_header_that_cannot_be_is_named(tmp_path, fields, words):
    path = saved(tmp_path / "a.nii.gz", numbers(), **fields)
    for read in (read_geometry, read_volume):
        with pytest.raises(DataError, match=words):
            read(path)


def peak_of_reading(path: Path, words: str) -> int:
    """Bytes of memory that a refusal takes."""
    tracemalloc.start()
    try:
        for read in (read_geometry, read_volume, read_mask):
            with pytest.raises(DataError, match=words):
                read(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["u1", "i2", "f4"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_claims_more_than_the_file_holds_takes_no_memory(tmp_path, name, kind):
    path = saved(tmp_path / name, numbers((2, 2, 2), kind), dim=[3, 1200, 1200, 1200, 1, 1, 1, 1])
    assert path.stat().st_size < 400
    assert peak_of_reading(path, "its header claims .* bytes of voxels, it holds too few") < 10e6


def test_a_small_file_that_unpacks_to_a_huge_volume_is_refused_by_the_limit(tmp_path):
    header = saved(
        tmp_path / "a.nii", numbers((2, 2, 2), "u1"), dim=[3, 2048, 2048, 513, 1, 1, 1, 1]
    )
    zeros = gzip.compress(bytes(2**23))
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress(header.read_bytes()) + zeros * 257)
    assert LARGEST < 2048 * 2048 * 513
    words = r"claims 2.152e\+09 values; medssl reads at most 2.147e\+09 \(2\^31\) from one file"
    assert peak_of_reading(bomb, words) < 10e6


@pytest.mark.parametrize("kind", ["i2", "f4"])
@pytest.mark.parametrize("edge", [20, 96])  # ITK reads the larger whole numbers, without checks
def test_a_damaged_voxel_is_noticed_by_the_checksum(tmp_path, kind, edge):
    noise = np.random.default_rng(0).integers(0, 1000, (edge,) * 3).astype(kind)
    content = saved(tmp_path / "whole.nii", noise).read_bytes()
    stored = bytearray(gzip.compress(content, compresslevel=0))
    stored[len(stored) // 2] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(stored)
    with pytest.raises(DataError, match="packed voxels are cut off or damaged"):
        read_volume(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content, compresslevel=1))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array[0], noise)


def test_voxels_are_the_files_own_though_another_of_its_name_lies_beside(tmp_path):
    """The NIfTI library in ITK prefers the voxels of a.nii where a.nii.gz is asked for."""
    saved(tmp_path / "a.nii.gz", numbers((96, 96, 96)))
    saved(tmp_path / "a.nii", np.zeros((96, 96, 96), "i2"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array[0], numbers((96,) * 3))


def test_what_is_read_may_be_written_to(tmp_path):
    path = saved(tmp_path / "a.nii.gz", numbers((128, 128, 128), "u1"))
    for volume in (read_volume(path), read_mask(path)):
        volume.array[0, 0, 0, 0] = 7
        assert volume.array[0, 0, 0, 0] == 7


def by_itk(path: Path) -> np.ndarray | None:
    """Where ITK finds two voxels; None where it cannot open the file."""
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError:
        return None
    ends = [(0, 0, 0), (4, 5, 6)]
    return np.array([image.TransformIndexToPhysicalPoint(end) for end in ends])


def by_nibabel(path: Path) -> np.ndarray:
    return nibabel.load(path).affine


@pytest.mark.parametrize("unit", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("qform", "sform"), [(0, 0), (1, 0), (0, 2), (1, 1), (1, 2), (1, 4), (2, 1)]
)
@pytest.mark.parametrize("sheared", [False, True])
def test_mask_and_maps_lie_on_the_image_for_every_reader(tmp_path, qform, sform, unit, sheared):
    """The two transforms differ by 5 mm, or the sform is sheared besides."""
    image, moved = tmp_path / "image.nii.gz", OBLIQUE.copy()
    moved[:3, 3] += 5
    moved[:3, 0] += 0.3 * moved[:3, 1] * sheared
    rows = {f"srow_{axis}": row for axis, row in zip("xyz", moved, strict=False)}
    fields = {**rows, "qform_code": qform, "sform_code": sform, "xyzt_units": unit}
    saved(image, numbers(), OBLIQUE, **fields)
    geometry = read_geometry(image)
    write_mask(numbers(kind="u1"), geometry, tmp_path / "mask.nii.gz")
    write_volume(numbers(kind="f4"), geometry, tmp_path / "map.nii")
    there = by_itk(image)
    assert geometry.opens_as_nifti == (there is not None)
    for written in (tmp_path / "mask.nii.gz", tmp_path / "map.nii"):
        header, own = nibabel.load(written).header, nibabel.load(image).header
        for name in ("qform_code", "sform_code", "xyzt_units", "srow_x", "quatern_b", "qoffset_z"):
            np.testing.assert_array_equal(header[name], own[name])
        np.testing.assert_array_equal(by_nibabel(written), by_nibabel(image))
        here = by_itk(written)
        assert (here is None) == (there is None)
        if here is not None and there is not None:
            np.testing.assert_allclose(here, there, rtol=1e-6)
        assert read_geometry(written) == geometry


@pytest.mark.parametrize("write", [write_mask, write_volume])
def test_a_grid_of_another_format_fills_both_transforms(
    tmp_path, scanner_affine, write: Callable[..., None]
):
    write(numbers(kind="u1"), Geometry(SHAPE, scanner_affine), tmp_path / "a.nii.gz")
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    assert header.get_xyzt_units()[0] == "mm"
    for affine in (header.get_qform(), header.get_sform()):
        np.testing.assert_allclose(affine, scanner_affine, atol=1e-4)
    found, last = by_itk(tmp_path / "a.nii.gz"), np.array([[0, 0, 0, 1], [4, 5, 6, 1]]).T
    lps = (np.diag([-1, -1, 1, 1]) @ scanner_affine @ last).T[:, :3]
    np.testing.assert_allclose(found, lps, atol=1e-3)


def test_a_sheared_grid_has_no_qform_since_none_could_hold_it(tmp_path, scanner_affine):
    sheared = scanner_affine.copy()
    sheared[:3, 0] += 0.3 * sheared[:3, 1]
    geometry = Geometry(SHAPE, sheared)
    assert geometry.is_sheared
    assert not geometry.opens_as_nifti
    write_mask(numbers(kind="u1"), geometry, tmp_path / "a.nii.gz")
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 1)
    assert by_itk(tmp_path / "a.nii.gz") is None
    for name in ("a.nrrd", "a.mha"):
        write_mask(numbers(kind="u1"), geometry, tmp_path / name)
        assert by_itk(tmp_path / name) is not None
        np.testing.assert_allclose(read_geometry(tmp_path / name).affine, sheared, atol=1e-9)


def test_an_axis_too_long_for_the_first_version_is_written_as_the_second(tmp_path):
    shape = (40_000, 1, 2)
    write_mask(np.ones(shape, np.uint8), Geometry(shape, np.eye(4)), tmp_path / "a.nii.gz")
    assert nibabel.load(tmp_path / "a.nii.gz").shape == shape
    assert read_mask(tmp_path / "a.nii.gz").array.sum() == 80_000


def test_a_grid_made_from_another_forgets_the_header_of_the_file(tmp_path):
    geometry = read_geometry(saved(tmp_path / "a.nii", numbers()))
    assert geometry.nifti is not None
    assert geometry.cropped((1, 1, 1), (3, 3, 3)).nifti is None
    assert geometry.oriented("LPS")[0].nifti is None
