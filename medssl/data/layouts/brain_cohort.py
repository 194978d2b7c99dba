"""Simulated patients, made on first use: `CASE/CHANNEL.nii.gz` and `CASE/label.nii.gz`.

The folder's name is a hash of all that the files depend on, and it appears by one rename.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from medssl.atomic import appearing
from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec
from medssl.errors import UsageError

VERSION = 1  # of what equal options give; raise it when the simulation changes


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patients: int = Field(default=32, ge=1, le=9999, description="how many are made")
    spacing: float = Field(default=4.0, ge=1, le=10, description="mm, on all axes")
    lesions: float = Field(
        default=0.0, ge=0, le=1000, description="mean number per patient; mask value 4"
    )
    seed: int = Field(default=0, ge=0, description="of all that is drawn")


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """The patients by number; makes them if they do not exist yet."""
    options = spec.layout.options(Options)
    from medssl.data.brain_cohort import CONTRASTS

    unknown = [name for name in spec.channels if name not in CONTRASTS]
    if unknown:
        raise UsageError(
            f"the channel '{unknown[0]}' cannot be simulated",
            do=f"choose from {', '.join(CONTRASTS)}",
        )
    folder = root / _key(spec, options)
    if not folder.is_dir():
        _make(spec, options, folder)
    return [_case(spec, folder, index) for index in range(1, options.patients + 1)]


def _key(spec: DataSpec, options: Options) -> str:
    depends = [VERSION, options.model_dump(), spec.channels, spec.label_values]
    return hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:12]


def _case(spec: DataSpec, folder: Path, index: int) -> Case:
    name = f"simulated_{index:03d}"
    images = {channel: folder / name / f"{channel}.nii.gz" for channel in spec.channels}
    return Case(name, spec.patient_of(name), images, folder / name / "label.nii.gz")


def _make(spec: DataSpec, options: Options, folder: Path) -> None:
    from medssl.data.brain_cohort import load_template, simulate
    from medssl.data.volume import write_mask, write_volume

    template = load_template(options.spacing)
    with appearing(folder, first_wins=True) as beside:
        for index in range(1, options.patients + 1):
            # A generator per patient: a larger cohort begins with the smaller one.
            generator = np.random.default_rng([options.seed, index])
            scan = simulate(template, spec.channels, options.spacing, options.lesions, generator)
            case = _case(spec, beside, index)
            for channel, image in scan.images.items():
                write_volume(image, scan.geometry, case.images[channel])
            declared = np.where(np.isin(scan.mask, spec.label_values), scan.mask, 0)
            write_mask(declared, scan.geometry, beside / case.id / "label.nii.gz")


LAYOUT = Layout(Options, cases, makes_files=True)
