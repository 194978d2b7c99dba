"""What other packages can add to medssl, and how things are found by name.

A package offers a thing by an entry point. The group says what kind of thing it is, the name what
pipelines, data specs and commands call it, and the value where it is, as "module:attribute".
"""

import importlib
import json
import pkgutil
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, entry_points
from pathlib import Path
from typing import Any, TypeVar

from medssl.errors import UsageError
from medssl.mistakes import nearest
from medssl.names import shown

Kind = TypeVar("Kind")

_UNRELEASED = re.compile(r"unknown|dirty|\+.*\.d\d{8}")
"""In versions that tools give to code which differs from what was recorded."""


def load(reference: str) -> Any:
    """What a "module:attribute" names; imports the module."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class Registry:
    """Things of one kind by name: those of medssl and those of other packages.

    Attributes:
        group: of the entry points of other packages, e.g. "medssl.layouts".
        noun: what such a thing is called in messages, e.g. "layout".
        shipped: those of medssl, by name, as "module:attribute".
        reserved: names that no package can use, as they have a meaning already.
    """

    group: str
    noun: str
    shipped: Mapping[str, str]
    reserved: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """Every known name, sorted; nothing is imported."""
        return sorted(self._offers().keys() - self.reserved)

    def require(self, name: str, place: str = "") -> None:
        """Refuse a name that is not known; nothing is imported.

        Args:
            name: as the user gave it.
            place: where it stands, e.g. "the data spec lung"; may be empty.

        Raises:
            UsageError: names the nearest known one.
        """
        known = self.names()
        if name in known:
            return
        inside = f" in {place}" if place else ""
        if name in self.reserved:
            raise UsageError(
                f"{shown(name)}{inside} cannot name a {self.noun} of another package",
                "medssl itself uses the name",
                "give it another name",
            )
        raise UsageError(
            f"no {self.noun} is called {shown(name)}{inside}",
            do=nearest(name, known) or f"install the package that offers the {self.noun}",
        )

    def find(self, name: str, kind: type[Kind], place: str = "") -> Kind:
        """The object of that name; imports the module that defines it.

        Args:
            name: as the user gave it.
            kind: the class that it must be an instance of.
            place: where the name stands; may be empty.

        Raises:
            UsageError: the name is not known (names the nearest) or offered twice, or what a
                package offers cannot be imported or is of another class.
        """
        self.require(name, place)
        found = self._loaded(name)
        if not isinstance(found, kind):
            raise self._unfit(name, f"an object of the class {_full(kind)}")
        return found

    def find_class(self, name: str, base: type[Kind]) -> type[Kind]:
        """As `find`, for things that are classes derived from `base`."""
        self.require(name)
        found = self._loaded(name)
        if not isinstance(found, type) or not issubclass(found, base):
            raise self._unfit(name, f"a class derived from {_full(base)}")
        return found

    def package(self, name: str) -> str:
        """The package that offers a known name, and its version; "medssl" for what is shipped."""
        return " and ".join(self._offers()[name].values())

    def require_steady(self, name: str) -> None:
        """Refuse a thing of another package whose code may change while its version stays.

        What is kept on disk is known by names and versions, so it would be taken for another's.

        Raises:
            UsageError: the package has no version, or is installed from where it is worked on.
        """
        for point in entry_points(group=self.group):
            if point.name == name and (why := _unsteady(point.dist)):
                raise UsageError(
                    f"what the {self.noun} {shown(name)} of {self.package(name)} makes cannot be "
                    "kept",
                    why,
                    "give the package a version, and install it without --editable",
                )

    def _offers(self) -> dict[str, dict[str, str]]:
        """By name: the package by the "module:attribute" that it offers; one, as a rule."""
        found = {name: {reference: "medssl"} for name, reference in self.shipped.items()}
        for name, reference, package in _entry_points(self.group, tuple(sys.path)):
            found.setdefault(name, {}).setdefault(reference, package)
        return found

    def _offer(self, name: str) -> tuple[str, str]:
        """The "module:attribute" of a known name, and its package."""
        offers = self._offers()[name]
        if len(offers) > 1:
            raise UsageError(
                f"the {self.noun} {shown(name)} is offered by {self.package(name)}",
                "which of them is meant cannot be told",
                "uninstall one of the packages",
            )
        return next(iter(offers.items()))

    def _loaded(self, name: str) -> Any:
        reference, package = self._offer(name)
        try:
            return load(reference)
        except Exception as error:
            if package == "medssl":
                raise
            raise UsageError(
                f"the {self.noun} {shown(name)} of {package} cannot be loaded",
                f"{type(error).__name__}: {error}",
                f"correct or uninstall {package}",
            ) from error

    def _unfit(self, name: str, wanted: str) -> UsageError:
        reference, package = self._offer(name)
        return UsageError(
            f"the {self.noun} {shown(name)} of {package} cannot be used",
            f"{reference} is not {wanted}",
            f"correct the entry point of the group {self.group}",
        )


@cache
def _entry_points(group: str, path: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Name, "module:attribute" and package of each entry point of the packages on `sys.path`."""
    found = []
    for point in _all_entry_points(path).select(group=group):
        package = "another package"
        if point.dist:
            stated = _version(point.dist) or "without a version"
            package = f"{point.dist.name} {stated}"
        found.append((point.name, point.value, package))
    return found


@cache
def _all_entry_points(path: tuple[str, ...]) -> Any:
    """Of all groups: to read them opens a file of every package on `sys.path`."""
    return entry_points()


def _version(package: Distribution) -> str:
    """What a package states; empty if nothing."""
    return str(package.metadata["Version"] or "") if "Version" in package.metadata else ""


def _unsteady(package: Distribution | None) -> str:
    """Why the code of a package may change while its version stays, in words; "": it may not."""
    if package is None:
        return "no installed package says of which version it is"
    stated = _version(package)
    if not stated or stated == "0.0.0" or _UNRELEASED.search(stated):
        return f"its version, {stated or 'none'}, does not say which code it is"
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    worked_on = any(
        Path(str(package.locate_file(name))).exists() for name in ("pyproject.toml", "setup.py")
    )
    if worked_on or origin.get("dir_info", {}).get("editable", False):
        return "it is installed in editable mode, so its code changes while its version stays"
    return ""


def _full(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _modules(package: str, attribute: str) -> dict[str, str]:
    """The `attribute` of every module in a package of medssl, by the module's name."""
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    names = [module.name for module in pkgutil.iter_modules([str(folder)])]
    return {name: f"{package}.{name}:{attribute}" for name in names}


METHODS = Registry("medssl.methods", "method", _modules("medssl.methods.settings", "Settings"))
"""Classes derived from `medssl.methods.settings.MethodSettings`."""

LAYOUTS = Registry("medssl.layouts", "layout", _modules("medssl.data.layouts", "LAYOUT"))
"""Objects of the class `medssl.data.layout.Layout`."""

NETWORKS = Registry(
    "medssl.networks",
    "network",
    {
        "vnet": "medssl.networks.settings:VNET",
        "unet3d": "medssl.networks.settings:UNET3D",
        "monai_unet": "medssl.networks.settings:MONAI_UNET",
        "swin_fpn": "medssl.networks.settings:SWIN_FPN",
        "conv_fpn": "medssl.networks.settings:CONV_FPN",
        "slice_unet": "medssl.networks.settings:SLICE_UNET",
        "plain_unet": "medssl.networks.unet_settings:PLAIN_UNET",
        "image_fpn": "medssl.networks.image_fpn_settings:IMAGE_FPN",
        "residual_unet": "medssl.networks.unet_settings:RESIDUAL_UNET",
        "primus": "medssl.networks.primus_settings:PRIMUS",
    },
)
"""Objects of the class `medssl.networks.settings.Network`."""

TRANSFORMS = Registry("medssl.transforms", "transform", {})
"""Classes derived from `monai.transforms.MapTransform`, beside those of MONAI and of medssl."""

_COLUMNS = (
    "case class outcome dice jaccard hd95 asd assd nsd truth_ml prediction_ml hd95_voxels "
    "asd_voxels"
)
_SUMMARY = (
    "images slides threshold standard_error accuracy balanced_accuracy kappa mse brier ece auc "
    "auc_bootstrap average_precision"
)

METRICS = Registry(
    "medssl.metrics",
    "metric",
    {},
    reserved=frozenset((*_COLUMNS.split(), *_SUMMARY.split())),
)
"""`Metric`s and `ClassMetric`s of `medssl.evaluate.metric`, measured beside what always is.

Reserved are the columns of scores.csv, and the numbers of a summary of grades or of calls.
"""

EXPORTERS = Registry(
    "medssl.exporters",
    "exporter",
    {},
    reserved=frozenset({"dicom-seg", "encoder", "package", "png"}),
)
"""Objects of the class `medssl.export.exporter.Exporter`, beside the commands of medssl."""

FAMILIES = Registry(
    "medssl.families",
    "family",
    {
        "segment": "medssl.families.segment.family:FAMILY",
        "grade": "medssl.families.grade.family:FAMILY",
        "slide": "medssl.families.slide.family:FAMILY",
        "pretrain": "medssl.families.pretrain.family:FAMILY",
    },
)
"""Objects of a class derived from `medssl.pipeline.family.Family`."""
