"""In which file format the masks of a case are written."""

from medssl.data.dicom.study import StudyFiles
from medssl.data.files import PICTURES, STACKS, is_picture
from medssl.data.volume import read_geometry
from medssl.errors import DataError
from medssl.export.forms import Form, form_of
from medssl.pipeline.inputs import Input


def form_for(word: str | None, given: Input) -> Form:
    """The form of a case's results, by a word of `predict.format`; None: the usual one."""
    word = word or usual_form(given)
    return form_of(word, word != "png" or is_flat(given))


def usual_form(given: Input) -> str:
    """The file format that suits a case where none is asked for, a word of `predict.format`.

    NIfTI; of pictures PNG, or TIFF where they have several slices.
    """
    if isinstance(given, StudyFiles) or not all(is_picture(file) for file in given):
        return "nifti"
    return "png" if is_flat(given) else "tiff"


def is_flat(given: Input) -> bool:
    """Whether a case has one slice; a study has several, and a file that cannot be read has one.

    No picture is decoded for it that has one frame by its kind.
    """
    if isinstance(given, StudyFiles):
        return False
    single = tuple({*PICTURES} - {*STACKS})
    try:
        asked = (file for file in given if not file.name.lower().endswith(single))
        return max((read_geometry(file).shape[2] for file in asked), default=1) == 1
    except DataError:  # who reads its voxels says why
        return True
