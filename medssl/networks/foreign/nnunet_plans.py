"""What is read of nnU-Net's plans, and of what its checkpoints say of their start."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

Number = Annotated[float, Field(allow_inf_nan=False)]


class Arguments(BaseModel):
    """Of the network's class."""

    strides: list[int | list[int]] | None = None


class Architecture(BaseModel):
    """A network's class and its arguments."""

    arch_kwargs: Arguments = Arguments()


class Configuration(BaseModel):
    """One of the networks that plans describe; of its images spacing in mm, z y x."""

    spacing: list[Annotated[Number, Field(gt=0)]] = []
    normalization_schemes: list[str] = []
    architecture: Architecture = Architecture()


class Intensities(BaseModel):
    """Of the voxels in the foreground of all training scans."""

    mean: Number
    std: Annotated[Number, Field(gt=0)]
    percentile_00_5: Number
    percentile_99_5: Number


class Plans(BaseModel):
    """Configurations and intensities are checked where they are used: the others do not matter."""

    transpose_forward: list[int] = [0, 1, 2]
    configurations: dict[str, Any] = {}
    foreground_intensity_properties_per_channel: dict[str, Any] = {}


class Start(BaseModel):
    """What a trainer was started with."""

    plans: Plans
    configuration: str | None = None
