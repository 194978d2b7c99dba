"""What can be wrong with one radiograph, each as one sentence that names file and remedy."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from medssl.data.case_checks import Finding, Verdict, said
from medssl.data.classes import Fault
from medssl.data.layouts import data_folder
from medssl.data.layouts.radiographs import Options, patients_known
from medssl.data.radiograph.image import Radiograph
from medssl.data.radiograph.read import read_radiograph
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError


def inspector_of_radiographs(
    spec: DataSpec, cases: Sequence[Case], faults: Sequence[Fault]
) -> Callable[[Case], Finding]:
    """What looks at a radiograph."""
    return partial(inspect_radiograph, spec=spec)


def unknown_patients(spec: DataSpec, cases: Sequence[Case]) -> Iterator[Verdict]:
    """A data set of which nothing says which images are of one patient."""
    if not patients_known(cases):
        yield Verdict(
            "",
            data_folder(spec),
            "warning",
            "patient",
            f"nothing says which images of {spec.name} are of one patient; each counts as its own",
            "name the column in the data spec (layout.columns.patient), or an expression as "
            "`patient`; scores are too good if parts share patients",
        )


def inspect_radiograph(case: Case, spec: DataSpec) -> Finding:
    """Everything that is wrong with an image on its own; its pixels are read."""
    finding = Finding(case)
    (path,) = case.images.values()
    if not path.is_file():
        finding.add(
            path,
            "missing image",
            f"the image {path} has a row in the table but does not exist",
            "add the file or remove its row",
        )
        return finding
    if case.part in ("validation", "test") and case.extra["class"] is None:
        finding.add(
            path,
            "missing label",
            f"{path} is for {case.part} but has no grade",
            "fill in its grade, or it is left out",
            "warning",
        )
    try:
        image = read_radiograph(path)
    except DataError as error:
        finding.add(path, "unreadable", *said(error))
        return finding
    finding.digest = hashlib.blake2b(
        np.ascontiguousarray(image.pixels).data, digest_size=16
    ).hexdigest()
    _header(finding, image, spec.layout.options(Options))
    return finding


def _header(finding: Finding, image: Radiograph, options: Options) -> None:
    """What the file's header says, against the table and the data spec."""
    (path,) = finding.case.images.values()
    if options.spacing == "header" and image.spacing is None:
        finding.add(
            path,
            "scale",
            f"{path} does not say its pixel spacing",
            "leave the file out, or give one spacing for all as layout.spacing in the data spec",
        )
    stated = finding.case.extra["side"]
    if stated and image.side and stated != image.side:
        finding.add(
            path,
            "side",
            f"{path} is of the side {image.side} by its header and {stated} by the table",
            "correct the one that is wrong",
        )
    elif not stated and not image.side and "side" in options.columns.model_fields_set:
        finding.add(
            path,
            "side",
            f"neither the table nor the header says which side {path} is of",
            "fill in the column of the side",
            "warning",
        )
