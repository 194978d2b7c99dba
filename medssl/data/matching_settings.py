"""How points of one volume are found in another; free of torch."""

from pydantic import BaseModel, ConfigDict, Field


class MatchingSettings(BaseModel):
    """Search for the most similar place, and which answers are believed (sheet of Alice, 8.2)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    coarse_cells: int = Field(
        default=27, ge=1, description="coarse cells whose fine cells are compared, per point"
    )
    exhaustive: int = Field(
        default=50_000,
        ge=0,
        description="volumes of at most so many fine cells are compared whole, which is faster",
    )
    cycle: float = Field(
        default=3.0,
        ge=0,
        description="fine cells by which the match of a match may miss where it began; the score "
        "itself tells little of the error",
    )
    quantile: float = Field(
        default=0.0, ge=0, lt=1, description="share of the least similar matches not believed"
    )
