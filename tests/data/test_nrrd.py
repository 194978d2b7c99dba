"""NRRD headers: axes, units, spaces, encodings, and that they name only what lies beside them."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from medssl.data.volume import read_geometry, read_mask, read_volume
from medssl.errors import DataError

VALUES = np.arange(24, dtype="<i2")
PLAIN = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 3 2",
    "space directions": "(2,0,0) (0,3,0) (0,0,4)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(10,20,30)",
}
RAS = np.array([[-2.0, 0, 0, -10], [0, -3, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]])
CHANNELS = {"dimension": "4", "kinds": "list domain domain domain", "sizes": "2 3 2 2"}
LIST = {
    **CHANNELS,
    "space directions": "none (2,0,0) (0,3,0) (0,0,4)",
}


def nrrd(path: Path, data: bytes = VALUES.tobytes(), **fields: str | None) -> Path:
    """A file with PLAIN's header, some fields replaced, added, or left out where None."""
    given = {key.replace("_", " "): value for key, value in fields.items()}
    lines = [f"{key}: {value}" for key, value in {**PLAIN, **given}.items() if value is not None]
    lines.sort(key=lambda line: not line.startswith(("dimension", "space dimension")))
    path.write_bytes("\n".join(["NRRD0005", "# made by hand", *lines, "", ""]).encode() + data)
    return path


def test_voxels_and_places_are_those_of_the_header(tmp_path):
    volume = read_volume(nrrd(tmp_path / "a.nrrd"))
    np.testing.assert_array_equal(volume.array[0], VALUES.reshape((4, 3, 2), order="F"))
    np.testing.assert_array_equal(volume.geometry.affine, RAS)


@pytest.mark.parametrize(
    ("unit", "size"),
    [("mm", 1), ("cm", 10), ("m", 1000), ("um", 1e-3), ("µm", 1e-3), ("microns", 1e-3), ("", 1)],
)
def test_places_are_millimetres_whatever_unit_the_header_names(tmp_path, unit, size):
    path = nrrd(tmp_path / "a.nrrd", space_units=f'"{unit}" "{unit}" "{unit}"')
    expected = np.diag([size, size, size, 1]) @ RAS
    np.testing.assert_allclose(read_geometry(path).affine, expected)
    spacings = {"space directions": None, "space origin": None, "space": None}
    path = nrrd(tmp_path / "b.nrrd", **spacings, spacings="2 3 4", units=f'"{unit}" "{unit}" "mm"')
    np.testing.assert_allclose(read_geometry(path).spacing, (2 * size, 3 * size, 4))


def test_a_unit_that_is_no_length_is_named(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", space_units='"mm" "parsec" "mm"')
    with pytest.raises(DataError, match=r"a.nrrd gives lengths in 'parsec'; .*; write mm, cm, m"):
        read_geometry(path)


@pytest.mark.parametrize("space", ["RAS", "left-anterior-superior", "LPS", "scanner-xyz", None])
def test_the_space_is_understood_as_itk_understands_it(tmp_path, space):
    other = {"space dimension": "3"} if space is None else {}
    path = nrrd(tmp_path / "a.nrrd", space=space, **other)
    image = SimpleITK.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(read_geometry(path).affine, np.diag([-1, -1, 1, 1]) @ lps)


def test_a_space_with_time_is_refused_since_itk_would_mirror_it(tmp_path):
    path = nrrd(
        tmp_path / "a.nrrd",
        space="right-anterior-superior-time",
        dimension="4",
        sizes="4 3 2 1",
        kinds="domain domain domain time",
        space_directions="(2,0,0,0) (0,3,0,0) (0,0,4,0) (0,0,0,1)",
        space_origin="(0,0,0,0)",
    )
    with pytest.raises(DataError, match=r"lies in space and time; .*; give it a space without"):
        read_geometry(path)


@pytest.mark.parametrize("kind", ["list", "vector", "RGB-color", "3-color"])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_the_axis_of_channels_may_be_any(tmp_path, kind, place):
    kinds, ways, sizes = ["domain"] * 3, PLAIN["space directions"].split(), ["2", "2", "2"]
    kinds.insert(place, kind)
    ways.insert(place, "none")
    sizes.insert(place, "3")
    fields = {"kinds": kinds, "space directions": ways, "sizes": sizes}
    joined = {key: " ".join(words) for key, words in fields.items()}
    volume = read_volume(nrrd(tmp_path / "a.nrrd", dimension="4", **joined))
    lengths = [int(size) for size in sizes]
    expected = np.moveaxis(VALUES.reshape(lengths, order="F"), place, 0)
    np.testing.assert_array_equal(volume.array, expected)
    np.testing.assert_array_equal(volume.geometry.affine, RAS)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({**LIST, "kinds": "complex domain domain domain"}, "holds complex numbers"),
        ({**LIST, "kinds": "list vector domain domain"}, "axes 1 and 2 are both of channels"),
        ({**LIST, "kinds": None}, "does not say what its axis 1 is; .*; write 'list' as its kind"),
        ({"dimension": "2", "sizes": "6 4", "kinds": None}, "not a volume; it has 2 axes"),
        ({"dimension": "4"}, "does not say how many axes"),
        ({"sizes": "4 3 -2"}, "claims 4x3x-2 voxels"),
        ({"sizes": "4 3 two"}, "its sizes are '4 3 two'"),
        ({"sizes": "4000 3000 2000"}, "claims 2.4e"),
        ({"sizes": "400 300 200"}, "claims 48000000 bytes of voxels, it holds too few"),
        ({"sizes": "400 300 200", "byte skip": "-1"}, "claims 48000000 bytes of voxels"),
        ({"byte skip": "1 2"}, "its byte skip is '1 2'"),
        ({"type": "block"}, "gives the type 'block'; convert it"),
        ({"endian": None}, "lacks the endian; convert it"),
        ({"encoding": "bzip2"}, "gives the encoding 'bzip2'; convert it"),
        ({"space directions": "(0,0,0) (0,3,0) (0,0,4)"}, "cannot be read|no valid grid"),
    ],
)
def test_a_header_that_cannot_be_read_is_named(tmp_path, fields, words):
    path = nrrd(tmp_path / "a.nrrd", **fields)
    for read in (read_geometry, read_volume):
        with pytest.raises(DataError, match=words):
            read(path)


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (gzip.compress(VALUES.tobytes()), {"encoding": "gzip"}),
        (gzip.compress(b"12345678" + VALUES.tobytes()), {"encoding": "gz", "byte skip": "8"}),
        (VALUES.astype(">i2").tobytes(), {"endian": "big"}),
        (b" ".join(b"%d" % value for value in VALUES), {"encoding": "text"}),
        (b"eight by" + VALUES.tobytes(), {"byte skip": "-1"}),
        (b"eight by" + VALUES.tobytes(), {"byte skip": "8"}),
        (b"a line\n" + VALUES.tobytes(), {"line skip": "1"}),
        (VALUES.astype("u1").tobytes(), {"type": "unsigned char", "endian": None}),
        (VALUES.astype("<f8").tobytes(), {"type": "double"}),
        (VALUES.astype("<i8").tobytes(), {"type": "int64_t"}),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else "-".join(map(str, value.values())),
)
def test_every_packing_gives_the_same_voxels(tmp_path, data, fields):
    for volume in (read_volume, read_mask):
        found = volume(nrrd(tmp_path / "a.nrrd", data, **fields)).array
        np.testing.assert_array_equal(found[0], VALUES.reshape((4, 3, 2), order="F"))
    cut = nrrd(tmp_path / "a.nrrd", data[:-3], **fields)
    if "-1" not in fields.values():  # there the end of the file says where data begin
        with pytest.raises(DataError, match=r"a.nrrd cannot be read; it is truncated"):
            read_volume(cut)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../secret.raw", "inside/secret.raw", "..", "C:\\secret.raw", "..\\secret.raw"],
)
@pytest.mark.parametrize("suffix", [".nhdr", ".nrrd"])
def test_a_header_may_only_name_a_file_beside_it(tmp_path, name, suffix):
    for folder in (tmp_path, tmp_path / "scans", tmp_path / "scans/inside"):
        folder.mkdir(exist_ok=True)
        (folder / "secret.raw").write_bytes(VALUES.tobytes())
    path = nrrd(tmp_path / f"scans/a{suffix}", b"", data_file=name)
    for read in (read_geometry, read_volume):
        with pytest.raises(DataError, match=r"names data elsewhere, .* a file beside it; put the"):
            read(path)


@pytest.mark.parametrize("names", ["LIST\n/etc/passwd", "LIST 2\na.raw", "a%d.raw 1 2 1"])
def test_data_in_several_files_are_refused(tmp_path, names):
    path = nrrd(tmp_path / "a.nhdr", b"", data_file=names)
    with pytest.raises(DataError, match=r"spreads its data over several files; .*; convert it"):
        read_volume(path)


def test_a_header_and_the_data_beside_it_are_one_image(tmp_path):
    (tmp_path / "a.raw.gz").write_bytes(gzip.compress(VALUES.tobytes()))
    path = nrrd(tmp_path / "a.nhdr", b"", encoding="gzip", data_file="a.raw.gz")
    np.testing.assert_array_equal(read_volume(path).array[0], VALUES.reshape((4, 3, 2), order="F"))
    (tmp_path / "a.raw.gz").unlink()
    with pytest.raises(DataError, match=r"a.nhdr has no data; 'a.raw.gz', which it names"):
        read_geometry(path)
