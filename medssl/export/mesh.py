"""The surface of each structure as a mesh in the patient's coordinates, mm in LPS+ as in DICOM.

3D Slicer reads SPACE=LPS in the header of a file. A surface runs halfway between the centres of
voxels that are marked and those that are not.

Legend: V vertices, F faces.
"""

from pathlib import Path

import numpy as np

from medssl.atomic import appearing
from medssl.data.geometry import Geometry

_TO_LPS = np.array([-1.0, -1.0, 1.0])


def surface(mask: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] in LPS+ mm and faces [F, 3], seen counter-clockwise from outside.

    Args:
        mask: bool [X, Y, Z]; where nothing is marked there are none.
    """
    if not mask.any():
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    from scipy import ndimage
    from skimage.measure import marching_cubes

    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    part = np.pad(mask[box], 1).astype(np.float32)
    points, faces, _, _ = marching_cubes(part, 0.5, gradient_direction="ascent")
    start = np.array([side.start for side in box]) - 1
    places = (points + start) @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]
    vertices = places * _TO_LPS
    if _volume(vertices, faces) < 0:
        faces = faces[:, ::-1]
    return vertices, faces.astype(np.int64)


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume that a closed surface holds; negative where its faces look inside."""
    first, second, third = vertices[faces].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", first, np.cross(second, third)) / 6)


def write_stl(mask: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write the surface of a mask as binary STL; the file appears complete or not at all."""
    vertices, faces = surface(mask, geometry)
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
    table = np.zeros(len(faces), kind)
    table["normal"] = normals / np.where(lengths > 0, lengths, 1)
    table["corners"] = corners
    with appearing(path) as beside, beside.open("wb") as file:
        file.write(b"medssl SPACE=LPS UNIT=mm".ljust(80))
        file.write(np.uint32(len(faces)).astype("<u4").tobytes())
        file.write(table.tobytes())


def write_obj(mask: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write the surface of a mask as OBJ; the file appears complete or not at all."""
    vertices, faces = surface(mask, geometry)
    with appearing(path) as beside, beside.open("w", encoding="ascii") as file:
        file.write("# medssl SPACE=LPS UNIT=mm\n")
        file.writelines(f"v {x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in vertices)
        file.writelines(f"f {a} {b} {c}\n" for a, b, c in faces + 1)
