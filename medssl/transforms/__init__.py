"""Transforms of images: chains of MONAI's and our own, named in a pipeline file.

Our own are MONAI dictionary transforms and fit into anyone's `Compose`:

    from monai.transforms import Compose
    from medssl.transforms import LoadVolumed, MarkForegroundd, ZScored
"""

from importlib import import_module
from typing import Any

OURS = {
    "LoadVolumed": "medssl.transforms.reader",
    "VolumeReader": "medssl.transforms.reader",
    "CropMarkedd": "medssl.transforms.spatial",
    "CropPatchd": "medssl.transforms.spatial",
    "FieldSpacingd": "medssl.transforms.spatial",
    "MarkForegroundd": "medssl.transforms.intensity",
    "ZScored": "medssl.transforms.intensity",
    "LoadRadiographd": "medssl.transforms.radiograph_reader",
    "RadiographReader": "medssl.transforms.radiograph_reader",
    "JointCropsd": "medssl.transforms.radiograph",
    "MirrorSided": "medssl.transforms.radiograph",
    "SquareCropd": "medssl.transforms.radiograph",
    "StretchPercentilesd": "medssl.transforms.radiograph",
    "NormalizeStaind": "medssl.transforms.stain",
    "RemovePenMarksd": "medssl.transforms.stain",
    "RandInverseGammad": "medssl.transforms.random_radiograph",
    "RandMixNoised": "medssl.transforms.random_radiograph",
    "RandTurnShiftd": "medssl.transforms.random_radiograph",
    "RandBlurd": "medssl.transforms.random_intensity",
    "RandBrightnessd": "medssl.transforms.random_intensity",
    "RandContrastd": "medssl.transforms.random_intensity",
    "RandGammaRangePreservingd": "medssl.transforms.random_intensity",
    "RandLowResolutiond": "medssl.transforms.random_intensity",
    "RandMirrord": "medssl.transforms.random_spatial",
    "RandPosed": "medssl.transforms.random_spatial",
    "RandRotateScaled": "medssl.transforms.random_spatial",
}
"""Where each is defined; MONAI is imported by the first that is asked for."""

__all__ = sorted(OURS)  # noqa: PLE0605 - names that are imported when they are asked for


def __getattr__(name: str) -> Any:
    if name in OURS:
        return getattr(import_module(OURS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
