"""What is read of the config.json and preprocessor_config.json of Hugging Face and of timm."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
Heads = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=1, le=8192)]
Means = tuple[Number, ...]
Deviations = tuple[Positive, ...]


class _Read(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


class Arguments(_Read):
    """Of timm's function."""

    num_heads: Heads | None = None


class Pretrained(_Read):
    """What timm says of weights and of the images that they were trained with."""

    mean: Means | None = None
    std: Deviations | None = None
    interpolation: str | None = None
    license: str | None = None


class Config(_Read):
    """A transformer, as Hugging Face or timm describes it."""

    model_type: str = ""
    architecture: str = "a transformer"
    num_attention_heads: Heads | None = None
    model_args: Arguments = Arguments()
    pretrained_cfg: Pretrained = Pretrained()
    layer_norm_eps: Positive = 1e-6
    hidden_act: str = "gelu"
    use_swiglu_ffn: bool = False
    use_gated_mlp: bool = False
    image_size: Side | None = None

    @property
    def heads(self) -> int | None:
        """By whichever of the two names."""
        return self.num_attention_heads or self.model_args.num_heads


class Images(_Read):
    """How images were normalised, channel by channel."""

    image_mean: Means | None = None
    image_std: Deviations | None = None
