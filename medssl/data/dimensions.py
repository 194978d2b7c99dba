"""Whether the images of a data set are pictures, which are 2-D, or volumes; by their names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from medssl.data.case_checks import Verdict
from medssl.data.files import is_picture
from medssl.data.spec import Case
from medssl.errors import DataError


def are_pictures(cases: Sequence[Case]) -> bool:
    """Whether the images of cases are pictures.

    Raises:
        DataError: some are, and others are volumes; names the rarer ones.
    """
    for odd in other_dimensions(cases):
        raise DataError(odd.what, do=odd.do)
    return any(is_picture(file) for case in cases for file in case.images.values())


def other_dimensions(cases: Sequence[Case]) -> Iterator[Verdict]:
    """Images of other dimensions than most."""
    files = [(case, file) for case in cases for file in dict.fromkeys(case.images.values())]
    flat = [is_picture(file) for _, file in files]
    if not 0 < sum(flat) < len(files):
        return
    mostly = 2 * sum(flat) >= len(files)
    usual, odd = ("pictures", "a volume") if mostly else ("volumes", "a picture")
    for (case, file), one in zip(files, flat, strict=True):
        if one is not mostly:
            count = sum(flat) if mostly else len(files) - sum(flat)
            yield Verdict(
                case.id,
                Path(file),
                "error",
                "dimensions",
                f"{file} is {odd} where {count} of the {len(files)} images are {usual}",
                "a data set is of one kind; move it to one of its own, or convert it",
            )
