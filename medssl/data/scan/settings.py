"""How windows of scans are drawn and changed; free of torch.

Defaults are those of modality-invariant learning (its sheet, sections 5 and 6) unless they say
otherwise.
"""

from typing import Literal

from pydantic import Field

from medssl.section import Amounts, Factors, Parts, Section, Shares


class PairSettings(Section):
    """Which two scans make a pair."""

    kind: Literal["modalities", "same_scan"] = Field(
        default="modalities", description="two scans of one session, or one scan twice"
    )
    sampler: Literal["session", "file_pair"] = Field(
        default="session",
        description="session: every session equally often, then one of its pairs; file_pair: every "
        "pair (with same_scan every scan of a pair) equally often, as released, which favours "
        "sessions of many scans",
    )
    contrasts_differ: bool = Field(
        default=True, description="released: false, so two scans of one contrast may be a pair"
    )


class AffineSettings(Section):
    """The affine that every scan of an item draws for itself."""

    about: Literal["volume", "window"] = Field(
        default="volume",
        description="volume: of the whole scan, as published; window: about each window's own "
        "centre, for windows so small that two scans would else show different places",
    )
    rotation: float = Field(default=0.3, ge=0, description="radians about each axis, +/- this")
    scale: float = Field(default=0.1, ge=0, lt=1, description="factor in 1 +/- this, per axis")
    shear: float = Field(
        default=0.3, ge=0, lt=0.5, description="of each axis along each other, +/- this"
    )
    flip_pairs: tuple[Literal[0, 1, 2], ...] = Field(
        default=(0,), description="axes mirrored with probability 0.5, both scans of a pair alike"
    )
    flip_scans: tuple[Literal[0, 1, 2], ...] = Field(
        default=(0, 1), description="the same for single scans"
    )


class IntensitySettings(Section):
    """Intensity changes of each scan for itself; probabilities as in the sheet, section 5."""

    scale: float = Field(default=0.1, ge=0, lt=1, description="about the mean, factor 1 +/- this")
    scale_chance: float = Field(default=0.8, ge=0, le=1, description="probability of a scaling")
    noise: float = Field(default=0.01, ge=0, description="standard deviation of Gaussian noise")
    noise_chance: float = Field(default=0.3, ge=0, le=1, description="probability of noise")
    blur: Amounts = Field(default=(0.5, 1.0), description="sigma in voxels")
    bias: float = Field(default=0.05, ge=0, description="largest coefficient of the bias field")
    gibbs: Shares = Field(default=(0.2, 0.4), description="share of k-space cut off")
    artefact_chance: float = Field(
        default=0.7, ge=0, le=1, description="of one of blur, bias field and Gibbs ringing"
    )
    gamma: Factors = Field(default=(0.9, 1.1), description="exponents, least and most")
    zoom: Parts = Field(default=(0.8, 1.0), description="low resolution and back")
    gamma_or_zoom_chance: float = Field(
        default=1.0, ge=0, le=1, description="of one of gamma and zoom; zoom then acts in half"
    )
    zoom_chance: float = Field(
        default=0.5, ge=0, le=1, description="probability of low resolution, where its turn comes"
    )
