"""Settings of `cps`: cross pseudo supervision, the `cps` preset of TraCoCo under its own name."""

from typing import Any, ClassVar

from medssl.methods.settings import tracoco


class Settings(tracoco.Settings):
    """Two networks; each learns the other's hard pseudo-labels."""

    paper: ClassVar[str] = "Chen et al., CPS, CVPR 2021"
    summary: ClassVar[str] = "two networks learn each other's hard pseudo-labels"
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    translation: tracoco.Translation = tracoco.Translation(enabled=False)
    entropy: tracoco.Entropy = tracoco.Entropy(weight=0.0)
    pseudo: tracoco.Pseudo = tracoco.Pseudo(kind="cross_entropy")
    cutmix: tracoco.CutMix = tracoco.CutMix(networks=())
