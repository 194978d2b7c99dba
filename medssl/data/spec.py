"""What a data set is (`data_specs/*.yaml`, typed) and what one of its cases is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import (
    Field,
    model_validator,
)

from medssl.data.dicom.rule import SeriesRule
from medssl.data.labels import IGNORED, Label, LabelValue, must_all_be_coloured
from medssl.data.layout_choice import LayoutChoice, Source, validated
from medssl.data.modalities import Modality
from medssl.data.regions import Region, brats, regions_of
from medssl.errors import DataError
from medssl.named_files import NamedFiles
from medssl.names import FileName, is_no_path, shown, unfit
from medssl.section import Section

SPECS = NamedFiles("data_specs", "data spec")


class Download(Section):
    """One file at the data set's official home."""

    url: str = Field(description="of the file")
    bytes: int | None = Field(default=None, ge=1, le=2**50, description="its size")
    sha256: str | None = Field(default=None, description="its checksum")
    md5: str | None = Field(default=None, description="where the home publishes no SHA-256")
    unpack: bool = Field(default=False, description="a .tar or .zip whose content is the data set")


class DataSpec(Section):
    """A data set: modality, channels, labels, layout, licence, home."""

    name: FileName = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="also names folders"
    )
    title: str = Field(description="for reports and figures")
    modality: Modality = Field(
        description="as in DICOM, e.g. MR, CT, PT, CR, DX, MG, US, XA, OCT, SM (slide "
        "microscopy), OT (other); usual names of these, as PET or ultrasound, count as them"
    )
    channels: tuple[FileName, ...] = Field(
        min_length=1, description="of an image, in the network's order"
    )
    labels: tuple[Label, ...] = ()
    ignore: int | None = Field(
        default=None,
        strict=True,
        ge=1,
        le=255,
        exclude_if=lambda given: given is None,
        description="voxel value in the mask files of what nobody has looked at (slices that are "
        "not outlined, all but the scribbles); such voxels are neither learnt from nor scored",
    )
    outlined: dict[str, tuple[str, ...]] = Field(
        default={},
        exclude_if=lambda given: not given,
        description="cases whose masks outline some labels alone: names of these by a regular "
        "expression that fits the case ids; what is another label there lies in the background. "
        "With `regions`: names of the regions whose voxels the masks mark, by any label of them",
    )
    regions: dict[FileName, tuple[int, ...]] = Field(
        default={},
        description="unions of label values that are learnt in place of the labels, in the order "
        "in which masks are written, e.g. {whole: [1, 2, 3], core: [2, 3]}; brats: whole tumour, "
        "tumour core and enhancing tumour, by the names of the labels",
    )
    regions_class_order: tuple[LabelValue, ...] | None = Field(
        default=None,
        exclude_if=lambda given: given is None,
        description="the label value that each region is written as, as in nnU-Net; null: of each "
        "the first label that no later region has",
    )
    root: str = Field(
        min_length=1,
        description="folder, relative to MEDSSL_DATA unless absolute; "
        "relative to the cache where the layout makes the files itself",
    )
    layout: LayoutChoice
    patient: str | None = Field(
        default=None, description="regular expression; its group 1 in the case id is the patient"
    )
    session: str | None = Field(
        default=None,
        description="the same for the session; cases of one patient and session are one session",
    )
    aliases: dict[str, tuple[str, ...]] = Field(
        default={},
        description="other names of a channel, in lists of nnssl, BIDS names and other data specs",
    )
    series: dict[str, SeriesRule] = Field(
        default={}, description="which series of a DICOM study each channel is; a rule by channel"
    )
    resample_channels: bool = Field(
        default=False,
        exclude_if=lambda given: not given,
        description="whether channels on other grids are put on that of the first, by the places "
        "that their headers state; refused otherwise",
    )
    empty_masks: bool = Field(default=False, description="masks without foreground are meant so")
    simulated: bool = Field(default=False, description="reports then say that no patient is in it")
    licence: str = Field(description="under which it may be used")
    citation: str = Field(description="what to cite")
    homepage: str = Field(default="", description="where to get it")
    downloads: tuple[Download, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _regions_by_name(cls, given: Any) -> Any:
        """`regions: brats` spelt out."""
        if not isinstance(given, Mapping) or given.get("regions") != "brats":
            return given
        labels = given.get("labels")
        if not isinstance(labels, list | tuple):
            raise ValueError("regions: brats needs labels")
        if not all(isinstance(one, Mapping) and type(one.get("value")) is int for one in labels):
            raise ValueError("regions: brats needs labels with a name and a value each")
        pairs = [(str(one.get("name")), int(one["value"])) for one in labels]
        return {**given, "regions": brats(pairs)}

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        for name, found in (("channels", self.channels), ("labels", self.classes)):
            if len(set(found)) != len(found):
                raise ValueError(f"two of the {name} have one name")
        if is_no_path(self.root):
            raise ValueError("the root is too long or has a control character")
        self._check_labels()
        self._check_expressions()
        self._check_aliases()
        return self

    def _check_labels(self) -> None:
        values = [label.value for label in self.labels]
        if len(set(values)) != len(values):
            raise ValueError("two of the labels have one value")
        if len(values) >= IGNORED:
            raise ValueError(f"there are {len(values)} labels, and a mask holds at most 254")
        if self.ignore in values:
            raise ValueError(f"ignore={self.ignore} is the value of a label")
        must_all_be_coloured(self.labels)
        for name in self.classes:  # here and not in Label, which older checkpoints hold too
            if reason := unfit(name):
                raise ValueError(f"the label {shown(name)} cannot name a file: {reason}")
        for expression, names in self.outlined.items():
            _must_be_expression(f"'{expression}' under outlined", expression)
            if odd := [name for name in names if name not in self.structures]:
                kind = "region" if self.regions else "label"
                raise ValueError(f"outlined names '{odd[0]}', which is no {kind}")
        if self.regions_class_order is not None and not self.regions:
            raise ValueError("regions_class_order is given without regions")
        self.united  # noqa: B018 - refuses unions that masks cannot be written of

    def _check_expressions(self) -> None:
        for what, expression in (("patient", self.patient), ("session", self.session)):
            if expression is None:
                continue
            if _must_be_expression(f"the expression for the {what}", expression) < 1:
                raise ValueError(f"the expression for the {what} has no group")

    def _check_aliases(self) -> None:
        for channel in self.channels:
            if "#" in channel:  # in sessions it stands before the number of a scan
                raise ValueError(f"the channel '{channel}' has the character #")
        taken = set(self.channels)
        for channel in self.series:
            if channel not in self.channels:
                raise ValueError(f"a rule for series is given for '{channel}', which is no channel")
        for channel, names in self.aliases.items():
            if channel not in self.channels:
                raise ValueError(f"aliases are given for '{channel}', which is no channel")
            for name in names:
                if name in taken:
                    raise ValueError(f"the alias '{name}' of {channel} already has a meaning")
                taken.add(name)

    def outlined_in(self, case_id: str) -> tuple[bool, ...] | None:
        """Whether the mask of a case outlines each class, background first; None: all of them.

        Of regions, whether it outlines each of these, without the background.
        """
        for expression, names in self.outlined.items():
            if re.search(expression, case_id):
                found = tuple(name in names for name in self.structures)
                return found if self.regions else (True, *found)
        return None

    def structures_in(self, case_id: str) -> tuple[str, ...]:
        """Names of what the mask of a case outlines, of `structures`."""
        found = self.outlined_in(case_id)
        if found is None:
            return self.structures
        shown = found if self.regions else found[1:]
        return tuple(name for name, seen in zip(self.structures, shown, strict=True) if seen)

    @property
    def united(self) -> tuple[Region, ...]:
        """The regions that are learnt, in the order of writing; empty where labels are."""
        labels = [(label.name, label.value) for label in self.labels]
        return regions_of(self.regions, labels, self.regions_class_order) if self.regions else ()

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of what is learnt and scored: of the regions, or of the labels."""
        return tuple(self.regions) or self.classes[1:]

    def patient_of(self, case_id: str) -> str:
        """The patient a case belongs to, by its id; each case its own where none is declared.

        Raises:
            DataError: the spec's expression does not fit the id.
        """
        if self.patient is None:
            return case_id
        found = self._found("patient", self.patient, case_id)
        if not found:
            raise DataError(
                f"the patient of case {case_id} is unknown",
                f"group 1 of '{self.patient}' in the data spec {self.name} is empty for it",
                "correct the expression or rename the files",
            )
        return found

    def session_of(self, case_id: str) -> str:
        """The session a case is, by its id; empty where none is declared.

        Raises:
            DataError: the spec's expression does not fit the id.
        """
        return "" if self.session is None else self._found("session", self.session, case_id)

    def _found(self, what: str, expression: str, case_id: str) -> str:
        match = re.search(expression, case_id)
        if match is None:
            raise DataError(
                f"the {what} of case {case_id} is unknown",
                f"'{expression}' in the data spec {self.name} does not fit the case's name",
                "correct the expression or rename the files",
            )
        return match.group(1) or ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the network's logits; background first."""
        return ("background", *(label.name for label in self.labels))

    @property
    def label_values(self) -> tuple[int, ...]:
        """Mask values in the order of the network's logits; 0 first."""
        return (0, *(label.value for label in self.labels))

    @property
    def mask_values(self) -> tuple[int, ...]:
        """Values that a mask may hold: those of the labels, 0 first, then `ignore`, if any."""
        return self.label_values if self.ignore is None else (*self.label_values, self.ignore)

    @property
    def label_colours(self) -> tuple[str, ...]:
        """Colours in the order of the labels; empty where masks hold values."""
        return tuple(label.colour for label in self.labels if label.colour is not None)


def _must_be_expression(what: str, expression: str) -> int:
    """How many groups a regular expression has; ValueError where it is none."""
    try:
        return re.compile(expression).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{what} is wrong: {error}") from None


@dataclass(frozen=True)
class Case:
    """One examination.

    Attributes:
        id: unique in the data set; names files and rows, so never a patient's name.
        patient: what splits keep together.
        images: file of each channel, in the spec's channel order; absent channels are missing;
            channels may share one 4-D file. In sessions there may follow scans of contrasts that
            are no channel, and further ones of a contrast: "t1#2" is the second t1.
        label: mask file, or None; where the data set lists one, it may be missing on disk.
        session: with the patient, what names a session; empty where the case is one by itself.
        part: "train", "test" or, of radiographs, "validation" where the data set declares it, else
            None.
    """

    id: str
    patient: str
    images: dict[str, Path]
    label: Path | None = None
    session: str = ""
    part: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def list_specs() -> list[str]:
    """Names of the data specs in ./data_specs and of those shipped with medssl, sorted."""
    return SPECS.names()


def load_spec(name_or_path: str | Path) -> DataSpec:
    """The data spec at a path (.yaml, .yml), else ./data_specs/NAME.yaml, else the shipped one.

    Raises:
        UsageError: there is none (names the nearest), or it, or one it extends, is no valid data
            spec.
    """
    path = SPECS.find(str(name_or_path))
    layers = SPECS.layers(path)
    plain = {"name": path.stem, **layers.laid()}
    spec = validated(DataSpec, plain, lambda where: f"data spec {layers.file_of(where)}")
    spec.layout._source = Source(layers)
    return spec


def make_spec(plain: dict[str, Any], where: str) -> DataSpec:
    """A data spec of plain values; `where` they come from is for the message.

    Raises:
        UsageError: they make none.
    """
    return validated(DataSpec, plain, where)
