"""Settings of `knn_grading`."""

from typing import Any, ClassVar

from medssl.errors import UsageError
from medssl.methods.settings import GradeMethodSettings


class Settings(GradeMethodSettings):
    """Radiographs are graded by the labelled ones that a frozen encoder finds most like them."""

    implementation: ClassVar[str] = "medssl.methods.grade.knn_grading:KnnGrading"
    paper: ClassVar[str] = "Goldblum et al., Battle of the Backbones, NeurIPS 2023"
    summary: ClassVar[str] = "k nearest labelled radiographs by a frozen encoder: a probe"
    by_gradient: ClassVar[bool] = False

    def must_fit(self, config: Any) -> None:
        """Refuse a network that keeps no images.

        Raises:
            UsageError: says what to set.
        """
        if config.pipeline.network.head != "neighbours":
            raise UsageError(
                "method=knn_grading keeps images to compare with",
                f"network.head={config.pipeline.network.head} keeps none",
                "set network.head=neighbours",
            )
