"""Settings of `tri_training_with_disagreement`: tri-training with one rule changed."""

from typing import ClassVar

from pydantic import Field

from medssl.methods.settings import tri_training


class Settings(tri_training.Settings):
    """Three networks; what two say alike teaches the third where it says otherwise, in rounds."""

    paper: ClassVar[str] = "Soegaard, ACL 2010; as Kesgin & Amasyali, ASYU 2022 (arXiv 2401.01843)"
    summary: ClassVar[str] = "tri-training, on what the third of the networks gets wrong alone"

    disagreement: bool = Field(
        default=True, description="only where the third says otherwise (Soegaard 2010)"
    )
