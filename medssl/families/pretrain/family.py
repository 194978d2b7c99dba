"""Pre-training: encoders for others to start from, from cases without labels."""

from medssl.families.pretrain.config import MixedConfig, PretrainConfig, TileConfig
from medssl.pipeline.family import Family, InitialEncoder, in_package

_HERE = "medssl.families.pretrain"

FAMILY = Family(
    name="pretrain",
    configs=(PretrainConfig, MixedConfig, TileConfig),
    usual_arms=("masked_image_modelling", "modality_invariant"),
    **in_package(_HERE, "pretrain"),
    comparison=f"{_HERE}.comparison:PretrainComparison",
    draft=f"{_HERE}.draft:draft",
    initial_encoder=InitialEncoder("network", "medssl.train.encoder_checkpoint:read_encoder"),
    prepare=f"{_HERE}.pretrain:prepare",
    found=f"{_HERE}.cohort:found",
    seed_keys=("seed", "probe.seed"),
    trains_encoders=True,
    together=("pretrain",),
)
