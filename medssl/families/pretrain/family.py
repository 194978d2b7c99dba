"""Pre-training: encoders for others to start from, from cases without labels."""

from medssl.families.pretrain.config import MixedConfig, PretrainConfig, TileConfig
from medssl.pipeline.family import Family

_HERE = "medssl.families.pretrain"

FAMILY = Family(
    name="pretrain",
    configs=(PretrainConfig, MixedConfig, TileConfig),
    usual_arms=("masked_image_modelling", "modality_invariant"),
    cohort=f"{_HERE}.cohort:find_cohort",
    inputs=f"{_HERE}.cohort:inputs",
    steps={"pretrain": f"{_HERE}.train:pretrain"},
    results=f"{_HERE}.cohort:results",
    comparison=f"{_HERE}.comparison:PretrainComparison",
    prepare=f"{_HERE}.train:prepare",
    found=f"{_HERE}.cohort:found",
    seed_keys=("seed", "probe.seed"),
    trains_encoders=True,
)
