"""How strongly a patch is changed that a network must answer like the unchanged one.

Free of torch, as settings of methods are.
"""

from pydantic import Field

from medssl.section import Amounts, Section


class Linear(Section):
    """Intensities times a factor, plus a share of their mean (AD-MT)."""

    probability: float = Field(default=0.0, ge=0, le=1, description="of a patch; 0: never")
    contrast: float = Field(default=0.5, ge=0, description="the factor is 1 +/- this")
    brightness: float = Field(default=0.5, ge=0, description="the share of the mean is +/- this")


class Colour(Section):
    """What colour jitter does to a grey image: brightness, then contrast about the mean."""

    probability: float = Field(default=0.0, ge=0, le=1, description="of a patch; 0: never")
    brightness: float = Field(default=0.5, ge=0, description="the factor is 1 +/- this")
    contrast: float = Field(default=0.5, ge=0, description="the factor is 1 +/- this")


class Field3d(Section):
    """A smooth field times the intensities, as of a coil, and a gamma (CrossMatch)."""

    probability: float = Field(default=0.0, ge=0, le=1, description="of a patch; 0: never")
    coefficient: float = Field(
        default=0.5, ge=0, description="of each term of the field's logarithm, up to order 3, +/-"
    )
    log_gamma: float = Field(default=0.5, ge=0, description="logarithm of gamma in +/- this")


class Blur(Section):
    """A Gaussian blur."""

    probability: float = Field(default=0.0, ge=0, le=1, description="of a patch; 0: never")
    sigma: Amounts = Field(default=(0.1, 2.0), description="voxels; uniform in between")


class Speckle(Section):
    """Gaussian noise, clipped at twice its deviation."""

    probability: float = Field(default=0.0, ge=0, le=1, description="of a patch; 0: never")
    deviation: Amounts = Field(
        default=(0.1, 1.0), description="in units of the treated intensities; uniform in between"
    )


class Strong(Section):
    """Changes of intensity, one after the other; none moves a voxel."""

    linear: Linear = Linear()
    colour: Colour = Colour()
    field: Field3d = Field3d()
    blur: Blur = Blur()
    noise: Speckle = Speckle()
