"""Pre-training: encoders for others to start from, from cases without labels."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.families.pretrain.config import MixedConfig, PretrainConfig
from medssl.families.pretrain.tile_config import TileConfig
from medssl.methods.settings import MethodSettings
from medssl.pipeline.comparison import Comparison
from medssl.pipeline.config import Config
from medssl.pipeline.family import Family, Step
from medssl.pipeline.plan import Cohort, Job, Plan

CONFIGS: dict[str, type[Config[Any]]] = {
    "volumes": PretrainConfig,
    "mixed": MixedConfig,
    "tiles": TileConfig,
}
"""By what a method learns from."""


class PretrainFamily(Family):
    """Encoders for others to start from, from cases without labels."""

    name = "pretrain"
    usual_arms = ("masked_image_modelling", "modality_invariant")
    seed_keys = ("seed", "probe.seed")
    trains_encoders = True

    def config(self, method: type[MethodSettings] | None = None) -> type[Config[Any]]:
        """The sections of a pipeline that pre-trains, by what its method learns from."""
        return CONFIGS[getattr(method, "learns_from", "volumes")]

    def configs(self) -> Sequence[type[Config[Any]]]:
        """Of volumes, also with images, and of tiles."""
        return (PretrainConfig, TileConfig)

    def cohort(self, config: Any, kept_out: Collection[str] = frozenset()) -> Cohort:
        """Who is learnt from, and who is probed; no patient in `kept_out` is either."""
        if isinstance(config, TileConfig):
            from medssl.families.pretrain.tiles import find_slides

            return find_slides(config, kept_out)
        from medssl.families.pretrain.cohort import find_cohort

        return find_cohort(config, kept_out)

    def inputs(self, config: Any, cohort: Any) -> Mapping[str, Sequence[Any]]:
        """The settings, the files of every data set, and a given embedding."""
        from medssl.families.pretrain.cohort import given_embedding
        from medssl.train.description import weights_hash
        from medssl.train.fingerprint import fingerprint

        if isinstance(config, TileConfig):
            return {"pretrain": [*config.shaping(), fingerprint(cohort.cases)]}
        files = [fingerprint(part) for _, part in (*cohort.train, *cohort.probed)]
        given = given_embedding(config)
        embedding = [] if given is None else [weights_hash(given)]
        return {"pretrain": [config.hash_of_all(), files, *embedding]}

    def prepare(self, job: Job) -> Any:
        """The method, with what it learns from."""
        from medssl.families.pretrain.train import prepare

        return prepare(job)

    def steps(self, plan: Plan[Any, Any]) -> Sequence[Step]:
        """One: train and probe."""
        from medssl.families.pretrain.train import pretrain

        return (Step("pretrain", pretrain),)

    def results(self, plan: Plan[Any, Any]) -> Mapping[str, Path]:
        """The encoder, and what the probes say where there are any."""
        from medssl.families.pretrain.cohort import PROBES

        folder = plan.folder("pretrain")
        probes = {"probes": folder / PROBES} if (folder / PROBES).is_file() else {}
        return {"model": folder / "checkpoint" / "last", **probes}

    def found(self, plan: Plan[Any, Any]) -> Sequence[str]:
        """What the probes of patients kept out of training say."""
        from medssl.families.pretrain.cohort import PROBES
        from medssl.families.pretrain.probe_table import probe_lines
        from medssl.pipeline.results import read_numbers

        lines = probe_lines(read_numbers(plan.last.folder / PROBES))
        return ["probes of patients kept out of training:", *lines] if lines else ()

    def comparison(self) -> Comparison:
        """By what probes find in the encoders."""
        from medssl.families.pretrain.comparison import PretrainComparison

        return PretrainComparison()


FAMILY = PretrainFamily()
