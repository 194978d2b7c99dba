"""3D Slicer's own code reads a series and lays segmentations upon it; a program of its own.

    python slicer_reads.py SERIES OUT.npz SEGMENTS ...

The steps are those of Slicer's modules: DICOMScalarVolumePlugin reads the folder SERIES, and each
folder SEGMENTS, into which dcmqi wrote a segmentation, is imported as by QuantitativeReporting.
What Slicer then holds is written down: the matrix IJK to RAS (mm) of the series, and of each
segmentation a mask [segments, columns, rows, slices] on the voxels of the series.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import slicer
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkStringArray
from vtkmodules.vtkCommonMath import vtkMatrix4x4


def load(scene: Any, kind: str, files: Sequence[Path]) -> Any:
    """A volume node of a file, or of the files of a series."""
    node = scene.AddNewNodeByClass(kind)
    store = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    store.SetFileName(str(files[0]))
    store.SetSingleFile(len(files) == 1)
    for file in files if len(files) > 1 else ():
        store.AddFileName(str(file))
    if not store.ReadData(node):
        raise SystemExit(f"Slicer does not read {files[0]}")
    return node


def values(node: Any) -> np.ndarray:
    """Voxels [columns, rows, slices] of a volume node."""
    image = node.GetImageData()
    flat = vtk_to_numpy(image.GetPointData().GetScalars())
    return np.asarray(flat).reshape(image.GetDimensions()[::-1]).T.copy()


def laid_upon(scene: Any, volume: Any, folder: Path) -> np.ndarray:
    """The segments of a folder of dcmqi's, each on the voxels of the volume."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for file in sorted(folder.glob("*.nrrd"), key=lambda path: int(path.stem)):
        label = load(scene, "vtkMRMLLabelMapVolumeNode", [file])
        if not logic.ImportLabelmapToSegmentationNode(label, node):
            raise SystemExit(f"Slicer does not import {file.name}")
    found, segments = [], node.GetSegmentation()
    for number in range(segments.GetNumberOfSegments()):
        one, ids = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode"), vtkStringArray()
        ids.InsertNextValue(segments.GetNthSegmentID(number))
        if not logic.ExportSegmentsToLabelmapNode(node, ids, one, volume):
            raise SystemExit(f"Slicer does not export segment {number}")
        found.append(values(one) > 0)
    return np.stack(found)


def in_order(folder: Path) -> list[Path]:
    """Slices by their place along the normal, as Slicer's DICOMUtils sorts them."""

    def place(file: Path) -> float:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        across, down = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
        return float(np.dot(np.cross(across, down), header.ImagePositionPatient))

    return sorted(folder.iterdir(), key=place)


def main(series: str, out: str, *folders: str) -> None:
    """Write what Slicer holds."""
    scene, matrix = slicer.vtkMRMLScene(), vtkMatrix4x4()
    volume = load(scene, "vtkMRMLScalarVolumeNode", in_order(Path(series)))
    volume.GetIJKToRASMatrix(matrix)
    affine = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])
    masks = {f"mask{n}": laid_upon(scene, volume, Path(one)) for n, one in enumerate(folders)}
    np.savez(out, affine=affine, scan=values(volume), **masks)


if __name__ == "__main__":
    main(*sys.argv[1:])
