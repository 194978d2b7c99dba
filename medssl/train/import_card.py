"""What an encoder of another project says of itself once it is imported; free of torch."""

from pydantic import BaseModel, ConfigDict


class ImportCard(BaseModel):
    """Where imported weights are from.

    Attributes:
        family: by whose names and shapes they were read.
        original: the class whose features the encoder gives.
        title: what they are.
        licence, citation: as their authors state them.
        commerce: whether the licence allows commercial use; None: not known.
        sha256: of the file.
        size: of the file, bytes.
        left_out: parts of the file that are no encoder, by the first part of their names.
        images_known: whether it is known how images were prepared.
        mpp: microns per pixel of tiles; 0: not of slides, or not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    original: str
    title: str
    licence: str
    citation: str
    commerce: bool | None
    sha256: str
    size: int
    left_out: tuple[str, ...] = ()
    images_known: bool = True
    mpp: float = 0.0

    @property
    def warning(self) -> str:
        """What the licence does not allow; empty where it allows all, or nothing is known."""
        if self.commerce is False:
            return f"the licence of {self.title} does not allow commercial use: {self.licence}"
        return ""
