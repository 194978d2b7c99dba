"""Bags of instance features in one file: NPZ or CSV, see `medssl.data.bags.instances`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medssl.data.bags.instances import read_instances
from medssl.data.classes import Fault, class_index, refuse
from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec


class Options(BaseModel):
    """Keys of this layout.

    Attributes:
        file: .npz or .csv.
        classes: names, the negative class first; a label is a name or an index.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(description=".npz or .csv, in the data set's folder")
    classes: tuple[str, ...] = Field(
        min_length=2, description="names, the negative class first; a label is a name or an index"
    )


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """A case per bag in the file's order.

    `extra["class"]` is the class index, `extra["index"]` the bag's number in the file, and
    `images["bag"]` the file.

    Raises:
        DataError: the file is missing or not laid out as described, or a bag is empty, without a
            label of its own, or has features that are not finite.
    """
    found, faults = listed(spec, root)
    refuse(faults)
    return found


def listed(spec: DataSpec, root: Path) -> tuple[list[Case], list[Fault]]:
    """The cases of all bags, and what is wrong with these bags; an unknown class is None.

    Raises:
        DataError: the file is missing or not laid out as described.
    """
    options = spec.layout.options(Options)
    found = read_instances(root / options.file)
    return [
        Case(
            id=name,
            patient=spec.patient_of(name),
            images={"bag": found.path},
            extra={"class": class_index(stated[0], options.classes), "index": number},
        )
        for number, (name, stated) in enumerate(zip(found.names, found.stated, strict=True))
    ], found.faults(options.classes)


LAYOUT = Layout(
    Options,
    cases,
    listed,
    content="bags",
    inspector=None,
    contact_sheet=None,
    bag_reader="medssl.data.bags.read:read_bags",
)
