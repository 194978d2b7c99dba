"""MetaImage headers: places as ITK finds them, units, packings, and data beside them only."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from medssl.data.volume import read_geometry, read_volume
from medssl.errors import DataError

VALUES = np.arange(24, dtype="<i2")
SHAPE = (4, 3, 2)
PLAIN = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "0 1 0 -1 0 0 0 0 1",
    "Offset": "10 20 30",
    "ElementSpacing": "2 3 4",
    "DimSize": "4 3 2",
    "ElementType": "MET_SHORT",
}


def meta(
    path: Path, data: bytes = VALUES.tobytes(), names: str = "LOCAL", **fields: object
) -> Path:
    """A file with PLAIN's header, some fields replaced, added, or left out where None."""
    given = {key: value for key, value in {**PLAIN, **fields}.items() if value is not None}
    lines = [f"{key} = {value}" for key, value in given.items()]
    path.write_bytes("\n".join([*lines, f"ElementDataFile = {names}", ""]).encode() + data)
    return path


def by_itk(path: Path) -> np.ndarray:
    image = SimpleITK.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ lps


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"TransformMatrix": None, "Offset": None, "ElementSpacing": None},
        {"TransformMatrix": None, "Rotation": "0 1 0 -1 0 0 0 0 1"},
        {"Offset": None, "Position": "1 2 3"},
        {"ElementSpacing": None, "ElementSize": "5 6 7"},
        {"TransformMatrix": "0.8 0.6 0 -0.6 0.8 0 0 0 1"},
    ],
)
def test_voxels_lie_where_itk_finds_them(tmp_path, fields):
    path = meta(tmp_path / "a.mha", **fields)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.geometry.affine, by_itk(path))
    np.testing.assert_array_equal(
        volume.array[0], SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T
    )


@pytest.mark.parametrize(("unit", "size"), [("mm", 1), ("cm", 10), ("um", 1e-3), ("?", 1)])
def test_places_are_millimetres_whatever_unit_the_header_names(tmp_path, unit, size):
    spacing = read_geometry(meta(tmp_path / "a.mha", DistanceUnits=unit)).spacing
    np.testing.assert_allclose(spacing, (2 * size, 3 * size, 4 * size))


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (zlib.compress(VALUES.tobytes()), {"CompressedData": "True"}),  # ITK gives stray memory
        (
            zlib.compress(VALUES.tobytes()),
            {"CompressedData": "True", "CompressedDataSize": len(zlib.compress(VALUES.tobytes()))},
        ),
        (VALUES.astype(">i2").tobytes(), {"BinaryDataByteOrderMSB": "True"}),
        (b" ".join(b"%d" % value for value in VALUES), {"BinaryData": "False"}),
        (VALUES.astype("<f4").tobytes(), {"ElementType": "MET_FLOAT"}),
    ],
)
def test_every_packing_gives_the_same_voxels_or_is_found_cut_off(tmp_path, data, fields):
    found = read_volume(meta(tmp_path / "a.mha", data, **fields)).array
    np.testing.assert_array_equal(found[0], VALUES.reshape(SHAPE, order="F"))
    with pytest.raises(DataError, match=r"a.mha cannot be read; it is truncated"):
        read_volume(meta(tmp_path / "a.mha", data[:-3], **fields))


def test_a_fourth_axis_and_a_vector_are_channels(tmp_path):
    vector = meta(tmp_path / "a.mha", DimSize="2 3 2", ElementNumberOfChannels=2)
    expected = VALUES.reshape((2, 2, 3, 2), order="F")
    np.testing.assert_array_equal(read_volume(vector).array, expected)
    four = {
        "NDims": 4,
        "DimSize": "2 3 2 2",
        "TransformMatrix": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
        "Offset": "0 0 0 0",
        "ElementSpacing": "1 1 1 1",
    }
    expected = np.moveaxis(VALUES.reshape((2, 3, 2, 2), order="F"), -1, 0)
    np.testing.assert_array_equal(read_volume(meta(tmp_path / "b.mha", **four)).array, expected)


def test_damage_is_noticed_by_the_checksum(tmp_path):
    data = bytearray(zlib.compress(VALUES.tobytes(), 0))
    data[-10] ^= 1
    with pytest.raises(DataError, match="packed voxels are cut off or damaged"):
        read_volume(meta(tmp_path / "a.mha", bytes(data), CompressedData="True"))


@pytest.mark.parametrize("suffix", [".mhd", ".mha"])
def test_a_header_may_only_name_a_file_beside_it(tmp_path, suffix):
    (tmp_path / "scans/inside").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "scans", tmp_path / "scans/inside"):
        (folder / "a.raw").write_bytes(VALUES.tobytes())
    path = tmp_path / f"scans/a{suffix}"
    for name in ("../a.raw", str(tmp_path / "a.raw"), "inside/a.raw", "..\\a.raw"):
        with pytest.raises(DataError, match="names data elsewhere, "):
            read_volume(meta(path, b"", name))
    for names in ("LIST\na.raw\na.raw", "LIST 2D\n/etc/passwd", "a%d.raw 1 2 1"):
        with pytest.raises(DataError, match="spreads its data over several files"):
            read_volume(meta(path, b"", names))
    with pytest.raises(DataError, match=r"has no data; 'gone.raw', which it names"):
        read_volume(meta(path, b"", "gone.raw"))
    np.testing.assert_array_equal(
        read_volume(meta(path, b"", "a.raw")).array[0], VALUES.reshape(SHAPE, order="F")
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"NDims": "2", "DimSize": "6 4"}, "not a volume; it has 2 axes"),
        ({"NDims": "4"}, "does not say how many axes"),
        ({"DimSize": "4 3 x"}, "its DimSize are '4 3 x'|its DimSize"),
        ({"DimSize": "4000 3000 2000"}, "claims 2.4e"),
        ({"DimSize": "400 300 200"}, "claims 48000000 bytes of voxels"),
        ({"DimSize": "4 3 0"}, "claims 4x3x0 voxels"),
        ({"DimSize": "400 300 200", "HeaderSize": -1}, "claims 48000000 bytes of voxels"),
        ({"CompressedData": "True", "CompressedDataSize": "1 2"}, "CompressedDataSize is '1 2'"),
        ({"ElementNumberOfChannels": ""}, "number of channels is ''"),
        ({"ElementType": "MET_STRING"}, "gives the ElementType 'MET_STRING'"),
        ({"ElementType": None}, "lacks the ElementType"),
        ({"TransformMatrix": "1 0 0"}, "its TransformMatrix is '1 0 0'"),
        ({"ElementSpacing": "0 1 1"}, "no valid grid; the voxels measure"),
        ({"DistanceUnits": "mile"}, "gives lengths in 'mile'"),
        ({"HeaderSize": 10}, "HeaderSize of 10 does not say where its data begin"),
        ({"CompressedData": "True", "CompressedDataSize": 99}, "claims 99 bytes of compressed"),
    ],
)
def test_a_header_that_cannot_be_read_is_named_and_nothing_is_printed(
    tmp_path, capfd, fields, words
):
    path = meta(tmp_path / "a.mha", **fields)
    for read in (read_geometry, read_volume):
        with pytest.raises(DataError, match=words):
            read(path)
    assert capfd.readouterr() == ("", "")
