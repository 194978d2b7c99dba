"""What the values of a mask mean, and warnings of empty ones."""

from collections.abc import Sequence
from pathlib import Path

from medssl.data.labels import Label
from medssl.data.spec import load_spec
from medssl.errors import UsageError
from medssl.names import some_of


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


def empty_in_training(source: str) -> bool | None:
    """Whether a mask was empty in the training of a checkpoint; None: not known, or no checkpoint.

    Raises:
        UsageError, DataError: as `declared_labels`.
    """
    if not Path(source).is_dir():
        return None
    from medssl.train.checkpoint import read_description

    return read_description(Path(source)).empty_masks


def empty_mask(name: str, in_training: bool | None) -> str:
    """A warning about a mask without foreground.

    Args:
        name: the case or file.
        in_training: whether a training mask was empty; None: not known.
    """
    if in_training is None:
        return f"the mask of {name} is empty; look whether there is nothing to find"
    told = "as some training masks were" if in_training else "though no training mask was"
    return f"the mask of {name} is empty, {told}"


def empty_masks(names: Sequence[str], in_training: bool | None) -> str:
    """What empty masks of several cases mean, in one sentence."""
    if len(names) == 1:
        return empty_mask(names[0], in_training)
    alone = empty_mask("X", in_training).removeprefix("the mask of X is empty")
    return f"the masks of {len(names)} cases are empty{alone}: {some_of(names)}"
