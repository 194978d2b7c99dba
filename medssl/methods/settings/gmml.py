"""Settings of `gmml`."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medssl.data.scan.matching_settings import MatchedViews
from medssl.data.scan.settings import AffineSettings, IntensitySettings
from medssl.errors import UsageError
from medssl.methods.settings import EmbeddingFirst, PretrainMethodSettings
from medssl.methods.settings.alice import Embedding
from medssl.section import Extent, Section, Width, in_plane


class Corruption(Section):
    """Groups of neighbouring voxels that are spoilt: boxes at random places."""

    fills: tuple[Literal["noise", "zeros", "shuffled"], ...] = Field(
        default=("noise",),
        description="what boxes are filled with, one of them drawn for each scan; shuffled: with "
        "another place of the same scan",
    )
    share: tuple[float, float] = Field(
        default=(0.5, 0.75), description="of the window that boxes cover, drawn for each scan"
    )
    alien: bool = Field(
        default=True,
        description="one scan in so many as there are fills and one gets boxes of another scan "
        "instead, at the same place",
    )
    alien_share: float = Field(default=0.3, gt=0, lt=1, description="of the window, for these")
    alien_source: Literal["batch", "matched"] = Field(
        default="batch",
        description="matched: the same anatomy of another patient, found by an anatomical "
        "embedding that is trained first",
    )
    largest: float = Field(
        default=0.3, gt=0, le=1, description="longest side of a box, as a share of the window's"
    )
    align: Extent = Field(
        default=4, ge=1, description="voxels that boxes begin and end at; released: 1"
    )
    clip: bool = Field(
        default=False, description="keep noise within each scan's own range, as for CT"
    )

    @model_validator(mode="after")
    def _are_shares(self) -> Self:
        low, high = self.share
        if not 0 < low <= high < 1:
            raise ValueError("share goes from a share above 0 to one below 1")
        if not self.fills and not self.alien:
            raise ValueError("nothing is spoilt: name fills, or set alien=true")
        return self


class Settings(PretrainMethodSettings):
    """GMML: restore scans of which whole groups of voxels are spoilt."""

    implementation: ClassVar[str] = "medssl.methods.pretrain.gmml:Gmml"
    paper: ClassVar[str] = "Atito et al., GMML, arXiv 2205.14986 (2022)"
    in_2d: ClassVar[bool] = True
    summary: ClassVar[str] = "an encoder restores groups of voxels, noise or of another scan"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "released": {"corruption": {"align": 1}},
        "matched": {"corruption": {"alien_source": "matched"}},
    }

    corruption: Corruption = Corruption()
    where: Literal["spoilt", "all"] = Field(
        default="spoilt", description="voxels whose error counts"
    )
    decoder_width: Width = Field(default=32, ge=1, description="channels of the light FPN decoder")
    affine: AffineSettings = AffineSettings()
    intensity: IntensitySettings = IntensitySettings()
    views: MatchedViews = MatchedViews()
    embedding: Embedding = Embedding()

    @property
    def matched(self) -> bool:
        """Whether scans come in pairs of the same anatomy."""
        return self.corruption.alien and self.corruption.alien_source == "matched"

    def must_fit(self, config: Any) -> None:
        """Refuse boxes that do not suit the window, and an embedding that does not.

        Raises:
            UsageError: names what fits.
        """
        train, network = config.pipeline.train, config.pipeline.network
        sides = in_plane(train.patch)
        align, shortest = self.corruption.align, min(sides)
        if any(side % align for side in sides) or align > self.corruption.largest * shortest:
            fitting = [
                str(one)
                for one in range(1, int(self.corruption.largest * shortest) + 1)
                if not any(side % one for side in sides)
            ]
            raise UsageError(
                f"method.corruption.align={align} does not fit train.patch={list(train.patch)}",
                "sides must be multiples of it, and the largest box no shorter",
                f"choose one of {', '.join(fitting)}" if fitting else "give a larger train.patch",
            )
        items = train.batch_pairs if self.matched else train.batch_scans
        network.must_take(train.patch, items)
        if self.corruption.alien and items < 2:
            raise UsageError(
                f"train.batch_scans={items} leaves no other scan to take boxes from",
                do="set train.batch_scans=2 or more, or method.corruption.alien=false",
            )
        if self.views.overlap:
            raise UsageError(
                f"method.views.overlap={self.views.overlap:g} bars negatives, and gmml has none",
                do="leave method.views.overlap out",
            )
        if self.matched and self.views.partner == "matched":
            self.embedding.must_fit(train.patch)

    def pairs_of_patients(self) -> MatchedViews | None:
        """Pairs of the same anatomy, where boxes are of these."""
        return self.views if self.matched else None

    def needs(self) -> EmbeddingFirst | None:
        """The embedding that finds the same place in another patient."""
        return self.embedding.first if self.matched and self.views.partner == "matched" else None
