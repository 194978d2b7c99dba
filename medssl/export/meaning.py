"""What the values of a mask mean, and the codes that DICOM wants for it."""

from pathlib import Path

from medssl.data.spec import Code, Label, load_spec
from medssl.errors import UsageError

# What 3D Slicer writes where nobody chose a term; true of anything segmented in a body.
GENERIC = Code(value="85756007", scheme="SCT", meaning="Tissue")


def declared_labels(source: str) -> tuple[Label, ...]:
    """The labels of a checkpoint folder, or of a data spec by name or file.

    Raises:
        UsageError: there is neither, or it declares no labels.
        DataError: the checkpoint cannot be understood.
    """
    if Path(source).is_dir():
        from medssl.train.checkpoint import read_description

        labels = read_description(Path(source)).labels
    else:
        labels = load_spec(source).labels
    if not labels:
        raise UsageError(
            f"{source} declares no labels",
            "the values of the mask would mean nothing",
            "name the data spec or the checkpoint that the mask belongs to",
        )
    return labels


def coded(label: Label) -> tuple[Code, Code]:
    """Category and type of a segment; generic where the label has no code."""
    return label.category or GENERIC, label.code or GENERIC
