"""How a slide is cut into tiles; free of heavy imports, so that pipelines can hold it."""

import hashlib
from typing import Literal

from pydantic import Field

from medssl.section import Section

_VERSION = 2  # of what cutting does; raise it when equal settings give other tiles


class TileSettings(Section):
    """A grid of square tiles without overlap, and which of them are kept."""

    size: int = Field(default=256, ge=16, le=4096, description="side of a tile, pixels")
    mpp: float = Field(default=0.5, gt=0, description="microns per pixel of a tile")
    assumed_mpp: float = Field(
        default=0.5,
        gt=0,
        description="microns per level-0 pixel of slides that state neither that nor the "
        "objective's power",
    )
    tissue: Literal["otsu", "edges", "all"] = Field(
        default="otsu",
        description="otsu: saturation of a thumbnail; edges: the released statistic; all: no test",
    )
    tissue_share: float = Field(
        default=0.1, gt=0, le=1, description="otsu: least share of a tile that is tissue"
    )
    drop_pen: bool = Field(
        default=True,
        description="otsu: what has the colours of marker pens is no tissue; false for stains that "
        "have them too, e.g. the blue or green of a trichrome",
    )
    edge_threshold: float = Field(
        default=15.0, ge=0, description="edges: kept above it; released: 20 CAMELYON16, 15 TCGA"
    )

    @property
    def key(self) -> str:
        """16 hex characters; equal settings have equal keys."""
        return hashlib.sha256(f"{_VERSION} {self.model_dump_json()}".encode()).hexdigest()[:16]
