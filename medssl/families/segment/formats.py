"""In which file format the masks of a case are written."""

from medssl.data.dicom.study import StudyFiles
from medssl.data.files import is_picture
from medssl.data.volume import Volume, read_geometry
from medssl.errors import UsageError
from medssl.pipeline.inputs import Input


def must_hold(form: str | None, case: str, volume: Volume) -> None:
    """Refuse a file format that cannot hold a volume, before it is predicted.

    Raises:
        UsageError: it has several slices, and a PNG is asked for.
    """
    frames = volume.geometry.shape[2]
    if form == "png" and frames > 1:
        raise UsageError(
            f"{case} has {frames} slices, and a PNG file holds one",
            do="choose --format nifti, nrrd or mha",
        )


def usual_form(given: Input) -> str:
    """The file format that suits a case where none is asked for, a word of `predict.format`.

    NIfTI; of pictures PNG, or TIFF where they have several slices.
    """
    if isinstance(given, StudyFiles) or not all(is_picture(file) for file in given):
        return "nifti"
    return "tiff" if max(read_geometry(file).shape[2] for file in given) > 1 else "png"
