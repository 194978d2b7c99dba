"""Names and arguments of the dictionary transforms of MONAI and of medssl, from a list made ahead.

So a wrong name in a pipeline is refused without importing MONAI, which takes seconds.
`python -m medssl.transforms.catalogue` prints the list anew, which a test holds up to date.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("catalogue.json")

GROUPS = ("spatial", "croppad", "intensity", "utility", "smooth_field", "signal", "post")
"""Modules of MONAI whose transforms a chain can hold: not those of files or batches."""

UNFIT: dict[str, tuple[str, ...]] = {
    "takes a Python function; offer a transform of your own by an entry point": (
        *("Lambdad", "RandLambdad"),
    ),
    "takes a Python object, which no file can hold; name the crop or the padding itself": (
        *("Cropd", "Padd", "RandCropd"),
    ),
    "reads or writes files, which medssl does by itself; leave it out": (
        *("LoadImaged", "SaveImaged", "SaveClassificationd", "WriteFileMappingd"),
    ),
    "is for batches; RandCoarseDropoutd cuts holes into each item": ("CutOutd",),
    "is for batches, which methods make; leave it out": ("CutMixd", "MixUpd", "Decollated"),
    "is of results; see the keys of predict": (
        *("Activationsd", "AsDiscreted", "Ensembled", "Invertd", "MeanEnsembled", "ProbNMSd"),
        *("VoteEnsembled",),
    ),
    "makes something else than an image or a mask of classes; leave it out": (
        *("DistanceTransformEDTd", "GenerateHeatmapd", "LabelToContourd", "SobelGradientsd"),
        *("FlattenSubKeysd", "GridPatchd", "GridSplitd", "RandGridPatchd", "SplitDimd", "ToPILd"),
    ),
    "cuts patches, which train.patch and train.foreground say; leave it out": (
        *("RandCropByLabelClassesd", "RandCropByPosNegLabeld", "RandSpatialCropSamplesd"),
        *("RandWeightedCropd",),
    ),
    "is of boxes or points, of which there are none; leave it out": (
        *("ApplyTransformToPointsd", "ConvertBoxToPointsd", "ConvertPointsToBoxesd"),
        *("TransformPointsImageToWorldd", "TransformPointsWorldToImaged"),
    ),
    "is of how MONAI keeps images, which medssl sees to; leave it out": (
        *("ApplyPendingd", "FromMetaTensord", "ToMetaTensord", "ToNumpyd"),
    ),
    "is of devices; see train.device and train.augment_on": (
        *("CuCIMd", "RandCuCIMd", "ToCupyd", "ToDeviced"),
    ),
    "swaps axes without a record, which nothing would tell of a cube; name Orientationd": (
        *("Transposed",),
    ),
    "bends the grid, and no result would find its way back; name RandGridDistortiond in augment": (
        *("GridDistortiond",),
    ),
    "gives images back without their grid; offer a transform of your own by an entry point": (
        *("TorchIOd",),
    ),
    "draws what no seed of an item decides, so no run could be repeated; name one of MONAI's own": (
        *("RandTorchIOd", "RandTorchVisiond"),
    ),
}
"""Why which transforms of MONAI are no part of a chain, and what to do instead."""

_OWN_GROUP = {
    "CropPatchd": "croppad",
    "StretchPercentilesd": "intensity",
    "MirrorSided": "spatial",
    "JointCropsd": "croppad",
    "SquareCropd": "croppad",
    "RandTurnShiftd": "spatial",
    "RandMixNoised": "intensity",
    "RandInverseGammad": "intensity",
    "NormalizeStaind": "intensity",
    "RemovePenMarksd": "intensity",
}
"""What ours do; others have the group that their module is named after."""

_GROUP = {"RandSimulateLowResolutiond": "intensity", "RandSmoothDeformd": "spatial"}
"""What a transform of MONAI does, where it is not what its module says."""

_NOT_ASKED = {"self", "keys", "allow_missing_keys", "lazy"}

_OTHER = "is for batches, files or results; leave it out"
"""Why not, of a transform of another MONAI that is not told of here."""


@dataclass(frozen=True)
class Entry:
    """What is known of a transform.

    Attributes:
        group: the module of MONAI it is in: "spatial", "croppad", "intensity", ...; of "post" are
            those that clean masks.
        random: whether it draws.
        required: names of the arguments that it must be given.
        optional: its other arguments with their defaults, as a pipeline would give them.
        open: whether it takes any other argument.
    """

    group: str
    random: bool
    required: tuple[str, ...]
    optional: Mapping[str, Any]
    open: bool = False

    @property
    def moves(self) -> bool:
        """Whether the transform changes where voxels lie, so that masks must follow."""
        return self.group in ("spatial", "croppad")


@cache
def known_transforms() -> dict[str, Entry]:
    """Every transform by name: MONAI's as they are called there, ours as "medssl:NAME"."""
    plain = json.loads(LIST.read_text(encoding="utf-8"))["transforms"]
    return {
        name: Entry(
            one["group"],
            one["random"],
            tuple(one["required"]),
            one["optional"],
            one.get("open", False),
        )
        for name, one in plain.items()
    }


@cache
def unfit_transforms() -> dict[str, str]:
    """Dictionary transforms of MONAI that no chain can hold: why not, and what to do instead."""
    found: dict[str, str] = json.loads(LIST.read_text(encoding="utf-8"))["unfit"]
    return found


def describe(transform: Any, group: str) -> Entry:
    """What its class says of a transform."""
    import inspect

    from monai.transforms import Randomizable

    asked = [one for name, one in inspect.signature(transform.__init__).parameters.items()]
    loose = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = [one for one in asked if one.name not in _NOT_ASKED and one.kind not in loose]
    return Entry(
        group,
        issubclass(transform, Randomizable),
        tuple(one.name for one in named if one.default is one.empty),
        {one.name: _plain(one.default) for one in named if one.default is not one.empty},
        any(one.kind is one.VAR_KEYWORD for one in asked),
    )


def _plain(default: Any) -> Any:
    """A default as a pipeline can say it; of types and functions the name."""
    if isinstance(default, list | tuple):
        return [_plain(one) for one in default]
    if isinstance(default, Enum):
        return _plain(default.value)
    if default is None or isinstance(default, bool | int | float | str):
        return default
    return getattr(default, "__name__", str(default).removeprefix("torch."))


def installed() -> dict[str, Any]:
    """The list, from the MONAI that is installed."""
    import inspect

    import monai
    from monai import transforms

    from medssl import transforms as ours

    why = {name: reason for reason, names in UNFIT.items() for name in names}
    found: dict[str, Entry] = {}
    for name, one in vars(transforms).items():
        group = getattr(one, "__module__", "").removeprefix("monai.transforms.")
        group = group.removesuffix(".dictionary")
        fits = inspect.isclass(one) and group in GROUPS and one.__name__ == name
        if fits and issubclass(one, transforms.MapTransform) and name not in why:
            found[name] = describe(one, _GROUP.get(name, group))
    for name, module in ours.OURS.items():
        one = getattr(ours, name)
        if issubclass(one, transforms.MapTransform) and not name.startswith("Load"):
            group = module.rpartition(".")[2].removeprefix("random_")
            group = _OWN_GROUP.get(name, group)
            found[f"medssl:{name}"] = describe(one, group)
    listed = {
        name: {key: value for key, value in asdict(entry).items() if key != "open" or value}
        for name, entry in sorted(found.items())
    }
    every = [one for one in vars(transforms).values() if inspect.isclass(one)]
    named = {one.__name__ for one in every if issubclass(one, transforms.MapTransform)}
    left = sorted(named - found.keys() - {"MapTransform", "RandomizableTransform"})
    unfit = {name: why.get(name, _OTHER) for name in left}
    return {"monai": monai.__version__, "transforms": listed, "unfit": unfit}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(installed(), indent=1) + "\n")
