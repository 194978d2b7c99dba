"""Bags of instance features in one file: NPZ or CSV, see `medssl.data.bags.instances`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medssl.data.bags.instances import read_instances
from medssl.data.classes import Fault, class_index
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


def listed(spec: DataSpec, root: Path) -> tuple[list[Case], list[Fault]]:
    """A case per bag in the file's order, and what is wrong with these bags.

    `extra["class"]` is the class index or None where it is unknown, `extra["index"]` the bag's
    number in the file, and `images["bag"]` the file.

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
    listed=listed,
    content="bags",
    noun="bags",
    truth="label",
    contents=None,
    inspector=None,
    contact_sheet=None,
    bag_reader="medssl.data.bags.read:read_bags",
)
