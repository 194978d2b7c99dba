"""Settings of `whitening`.

Defaults are for small batches of volumes: rows are cells of the coarsest map. The preset `paper`
compares whole scans, which needs train.batch_pairs of 128 and more.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medssl.errors import UsageError
from medssl.methods.pretrain.view_settings import ViewSettings
from medssl.section import Count, Extent, Width


class Settings(ViewSettings):
    """W-MSE: views meet after their batch is whitened, which forbids that all become alike."""

    implementation: ClassVar[str] = "medssl.methods.pretrain.whitening:Whitening"
    paper: ClassVar[str] = "Ermolov et al., Whitening for self-supervision (W-MSE), ICML 2021"
    summary: ClassVar[str] = "views of a scan meet in whitened batches, without negatives"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rows": "scans", "outputs": 64, "shrink": 0.0}
    }

    rows: Literal["scans", "tokens"] = Field(
        default="tokens", description=ViewSettings.model_fields["rows"].description
    )
    count: Literal[2, 4] = Field(
        default=2, description="views of an item; of four, two share an affine each"
    )
    hidden: Width = Field(default=1024, ge=1, description="width of the projector's hidden layer")
    outputs: Width = Field(default=32, ge=2, description="width of the embedding")
    size: Extent | None = Field(
        default=None,
        ge=3,
        description="rows that are whitened together, more than outputs; null: twice as many",
    )
    rounds: Count = Field(default=1, ge=1, description="random divisions of the rows per step")
    shrink: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="share of the identity in the covariance; published: 0",
    )
    unit: bool = Field(
        default=True,
        description="compare directions, 2 - 2 cosine; false: the mean squared difference",
    )

    @property
    def together(self) -> int:
        """Rows that are whitened together."""
        return self.size or 2 * self.outputs

    def must_fit(self, config: Any) -> None:
        """Refuse batches that cannot be divided into sets of rows to whiten.

        Raises:
            UsageError: names the nearest batch that can.
        """
        super().must_fit(config)
        batch = config.pipeline.train.batch_pairs
        if self.rows == "scans" and batch % self.together:
            nearest = max(1, round(batch / self.together)) * self.together
            raise UsageError(
                f"train.batch_pairs={batch} cannot be divided into sets of {self.together} scans",
                "so many are whitened together (method.size, or twice method.outputs)",
                f"set train.batch_pairs={nearest}, a smaller method.outputs, or method.rows=tokens",
            )

    @model_validator(mode="after")
    def _has_full_rank(self) -> Self:
        if self.together <= self.outputs:
            raise ValueError(
                f"size={self.together} rows have no covariance of full rank in "
                f"outputs={self.outputs}: give a larger size"
            )
        if self.rows == "tokens" and self.tokens < self.together:
            raise ValueError(
                f"tokens={self.tokens} is less than the {self.together} that are whitened "
                "together: raise tokens, or lower outputs"
            )
        return self
