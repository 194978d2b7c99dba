"""The key `pretrain` of pipelines: which pre-trained encoder training starts from."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from medssl.environment import encoders_root
from medssl.errors import UsageError
from medssl.section import Section


class EncoderSource(Section):
    """The encoder that training starts from: `pretrain: FOLDER`, `pretrain: PIPELINE`, or keys."""

    checkpoint: str | None = Field(default=None, description="folder of a pre-trained encoder")
    pipeline: str | None = Field(default=None, description="pre-training pipeline, run if need be")
    set: tuple[str, ...] = Field(default=(), description="key=value overrides of that pipeline")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return pretrain_keys(given) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.checkpoint is None) == (self.pipeline is None):
            raise ValueError("give either checkpoint or pipeline")
        if self.set and self.pipeline is None:
            raise ValueError("set changes a pipeline, and a checkpoint is finished")
        return self

    @property
    def folder(self) -> Path:
        """The checkpoint's folder.

        Raises:
            UsageError: there is only a pipeline that has yet to run.
        """
        if self.checkpoint is None:
            raise UsageError(
                f"the encoder of pretrain.pipeline={self.pipeline} is not there yet",
                do=f"run `medssl pretrain {self.pipeline}` and give pretrain=FOLDER that it prints",
            )
        return Path(self.checkpoint)


class PretrainChoice(EncoderSource):
    """The encoder of a segmentation network, and how it is taken."""

    matched: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the encoder's parameters that must fit; less excuses whole blocks at "
        "the end, never a part of one",
    )
    decoder: bool = Field(
        default=True,
        exclude_if=lambda given: given,
        description="the decoder too, where pre-training hands on one of the network's kind "
        "(network.decoder=skip after method=alice); false: the encoder alone",
    )
    channels: Literal["repeat", "same"] = Field(
        default="repeat",
        description="images of C channels: the stem's kernel C times, divided by C; same: refused",
    )


def pretrain_keys(text: str) -> dict[str, Any]:
    """The key that a plain `pretrain: TEXT` stands for.

    A name is an imported encoder, where there is one, else a pipeline, as a YAML file is; a folder,
    or any other path, is a checkpoint or a file of weights.
    """
    path = Path(text)
    if path.name == text and (imported := encoders_root() / text).is_dir():
        return {"checkpoint": str(imported)}
    if path.is_file() and path.suffix not in {".yaml", ".yml"}:
        return {"checkpoint": text}
    named = path.suffix in {".yaml", ".yml"} or (len(path.parts) == 1 and not path.is_dir())
    return {"pipeline" if named else "checkpoint": text}
