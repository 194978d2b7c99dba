"""Settings of `snuffy`.

Defaults are the method as published: the paper's attention pattern with normalised keys, and the
numbers of the DINO-adapter run where the paper's figure does not decide (sheet sections 6 and 14).
The presets from `dino_scratch` on are the columns of the released command lines, with the released
operator, which very likely gave the published results. Their optimisers (sheet section 6) belong in
the pipeline: AdamW, 0.02, weight decay 0.05; classical: Adam, 2e-4, betas 0.5 and 0.9, weight decay
5e-3; both with cosine to 5e-6 over 200 epochs.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medssl.errors import UsageError
from medssl.methods.settings import Family, MethodSettings
from medssl.section import Count, Items, Seed, Width

Init = Literal["xavier_uniform", "xavier_normal", "truncated"]

_RELEASED: dict[str, Any] = {"mode": "B", "key_norm": "raw"}
_DINO = _RELEASED | {"heads": 4, "l2_features": True, "init": "truncated"}
_LEARNED: dict[str, Any] = {"mix_learned": True, "mix_rate": 1.0}


class Settings(MethodSettings):
    """Max-pooling branch and sparse transformer, mixed."""

    family: ClassVar[Family] = "slide"
    implementation: ClassVar[str] = "medssl.methods.slide.snuffy:Snuffy"
    paper: ClassVar[str] = "Jafarinia et al., Snuffy, ECCV 2024 (arXiv 2408.08258)"
    summary: ClassVar[str] = "sparse transformer over all patches, led by a max-pooling branch"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "snuffy": {},
        "released": _RELEASED,
        "dino_scratch": _DINO | {"lambda_total": 900, "random_share": 7 / 9},
        "dino_adapter": _DINO | _LEARNED,
        "mae_adapter": _DINO | _LEARNED | {"l2_features": False, "block_dropout": 0.0},
        "heat_map": _RELEASED
        | {
            "lambda_total": 900,
            "random_share": 7 / 9,
            "depth": 5,
            "activation": "gelu",
            "block_dropout": 0.2,
        },
        "classical": _RELEASED
        | {
            "lambda_total": 200,
            "random_share": 0.0,
            "block_dropout": 0.0,
            "init": "xavier_normal",
            "init_head": "xavier_normal",
            "positive_weight": True,
        },
    }

    lambda_total: Width = Field(default=500, ge=1, description="global tokens of a layer, Lambda")
    random_share: float = Field(
        default=0.5, ge=0, le=1, description="share of them drawn at random, r; 7/9 as 0.7777778"
    )
    mode: Literal["A", "B", "B_normalised"] = Field(
        default="A",
        description="A: softmax over keys, as the paper draws; B: the released operator, sums over "
        "patches; B_normalised: means in their place",
    )
    nonselected: Literal["attend", "identity"] = Field(
        default="attend", description="mode A: other patches attend to the tokens and themselves"
    )
    key_norm: Literal["ln", "raw"] = Field(
        default="ln", description="raw: keys before the layer norm, as released"
    )
    depth: Count = Field(default=1, ge=1, description="layers; 5 in the heat-map run")
    heads: Count = Field(
        default=2,
        ge=1,
        description="must divide the features' width; 2 divides all published ones (166 to 768)",
    )
    mlp_ratio: Count = Field(default=4, ge=1, description="feed-forward, in widths")
    activation: Literal["relu", "gelu"] = Field(
        default="relu", description="of the feed-forward layers"
    )
    block_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="after attention and feed-forward"
    )
    attn_dropout: float = Field(default=0.1, ge=0, lt=1, description="of the attention weights")
    l2_features: bool = Field(default=False, description="divide each patch by its norm first")
    pool: Literal["all", "selected"] = Field(
        default="all", description="selected: mean over the tokens, as MILFormer (Jan 2024)"
    )
    mix: float = Field(
        default=0.5, ge=0, le=1, description="w, share of the transformer; the start if learned"
    )
    mix_learned: bool = Field(default=False, description="released: soft_average")
    mix_rate: float = Field(
        default=0.1, gt=0, description="factor on the learning rate of w; 1 in the published runs"
    )
    init: Init = Field(
        default="xavier_uniform",
        description="of the transformer; truncated: standard deviation 1, cut at 2, as released; "
        "it saturates the attention and belongs to learning rate 0.02",
    )
    init_head: Init = Field(default="xavier_uniform", description="of the max-pooling branch")
    positive_weight: bool = Field(
        default=False, description="weigh positive bags by negatives / positives (classical sets)"
    )
    eval_draws: Count = Field(
        default=1, ge=1, description="random draws averaged when predicting; none with share 0"
    )
    eval_seed: Seed = Field(
        default=0, ge=0, description="of the draws when predicting, the same for every bag"
    )
    chunk: Items = Field(default=2048, ge=1, description="patches at a time; sets the memory")
    checkpoint: bool = Field(
        default=True, description="compute chunks again in the backward pass: a third more time"
    )

    def must_fit(self, config: Any) -> None:
        """Refuse heads that do not divide the width of the encoder's features.

        The width of features that come with a data set, or from an encoder of timm, is known with
        them alone.

        Raises:
            UsageError: as `must_divide`.
        """
        if config.tiled and (width := config.pipeline.encoder.width):
            self.must_divide(width)

    def must_divide(self, width: int) -> None:
        """Refuse a number of heads that does not divide the width of features.

        Raises:
            UsageError: it does not; the message names the numbers up to 16 that do.
        """
        if width % self.heads:
            fitting = [str(n) for n in range(1, 17) if width % n == 0]
            raise UsageError(
                f"method.heads={self.heads} does not divide the features' width {width}",
                do=f"set method.heads to one of: {', '.join(fitting)}",
            )
