"""Pre-training: encoders for others to start from, from cases without labels."""

from medssl.families.pretrain.config import MixedConfig, PretrainConfig, TileConfig
from medssl.pipeline.family import Family, InitialEncoder, Scoring, Step

_HERE = "medssl.families.pretrain"

FAMILY = Family(
    name="pretrain",
    configs=(PretrainConfig, MixedConfig, TileConfig),
    cohort=f"{_HERE}.cohort:find_cohort",
    inputs=f"{_HERE}.cohort:inputs",
    steps={
        "pretrain": Step(f"{_HERE}.pretrain:pretrain", together=True),
    },
    results=f"{_HERE}.cohort:results",
    scoring=Scoring(
        f"{_HERE}.comparison:PretrainComparison",
        usual_arms=("masked_image_modelling", "modality_invariant"),
        seed_keys=("seed", "probe.seed"),
    ),
    draft=f"{_HERE}.draft:draft",
    prepare=f"{_HERE}.pretrain:prepare",
    found=f"{_HERE}.cohort:found",
    initial_encoder=InitialEncoder("network", "medssl.train.encoder_checkpoint:read_encoder"),
    trains_encoders=True,
)
