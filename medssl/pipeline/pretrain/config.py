"""A pipeline that pre-trains an encoder, its method's settings and its data specs, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medssl.data.scan.contrasts import Contrasts
from medssl.data.spec import DataSpec, load_spec
from medssl.errors import UsageError
from medssl.methods.settings import MethodSettings
from medssl.methods.settings.anatomical_embedding import Settings as EmbeddingSettings
from medssl.methods.settings.dino import Settings as DinoSettings
from medssl.pipeline.config import (
    CLASSIFIED,
    check_patch,
    digest,
    flatten,
    method_settings,
    read_pipeline,
    validate,
)
from medssl.pipeline.pretrain.settings import PretrainPipeline

IMAGES = "radiographs"
"""The layout of native images."""

WITHOUT_EFFECT = ("log_every", "checkpoint_every", "threads", "device")
"""Keys of `train` that say how, not what, is computed; they are left out of hashes."""


@dataclass(frozen=True)
class PretrainConfig:
    """What one pre-training does, complete and checked."""

    pipeline: PretrainPipeline
    method: MethodSettings
    specs: tuple[DataSpec, ...]

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Names of the known contrasts over all data sets, in order of appearance."""
        return Contrasts(self.specs).names

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "modality_invariant on ms_lesions, seed 0"."""
        pipeline = self.pipeline
        return f"{pipeline.method.name} on {' + '.join(pipeline.data)}, seed {pipeline.seed}"

    def resolved(self) -> dict[str, Any]:
        """Everything as plain values; itself a valid pipeline file."""
        plain: dict[str, Any] = self.pipeline.model_dump(mode="json", exclude={"method"})
        return plain | {"method": self.method_values()}

    def method_values(self) -> dict[str, Any]:
        """The method's name and every setting of it."""
        return {"name": self.pipeline.method.name, **self.method.model_dump(mode="json")}

    def flat(self) -> dict[str, Any]:
        """`resolved` as "section.key" to value, for the tracker."""
        return flatten(self.resolved())

    def hash(self) -> str:
        """8 hex characters over all that shapes the encoder."""
        plain = self.resolved()
        for key in ("name", "title", "exclude"):
            plain.pop(key)
        for key in WITHOUT_EFFECT:
            plain["train"].pop(key)
        contrasts = [[spec.channels, spec.aliases] for spec in self.specs]
        return digest([plain, contrasts])


def learns_from_tiles(name_or_path: str, overrides: Sequence[str] = ()) -> bool:
    """Whether a pipeline pre-trains an encoder of tiles of slides, not of volumes.

    Raises:
        UsageError: unknown pipeline, override or data set.
    """
    data = read_pipeline(name_or_path, overrides).get("data")
    return isinstance(data, str) and load_spec(data).layout.kind == "slides"


def load_pretrain_config(name_or_path: str, overrides: Sequence[str] = ()) -> PretrainConfig:
    """The pipeline of that name or path, with `key.sub=value` overrides applied in order.

    Raises:
        UsageError: unknown pipeline, key, method or preset, a value of the wrong kind, or a data
            set without volumes.
    """
    pipeline = validate(PretrainPipeline, read_pipeline(name_or_path, overrides))
    specs = tuple(load_spec(name) for name in pipeline.data)
    method = method_settings(pipeline.method)
    if isinstance(method, DinoSettings):
        raise UsageError(
            f"{pipeline.method.name} learns from tiles of slides",
            f"{' and '.join(pipeline.data)} has none",
            do="name one data spec with the layout 'slides', or another method",
        )
    refused = set(CLASSIFIED) - ({IMAGES} if method.takes_images else set())
    for spec in specs:
        if spec.layout.kind in refused:
            raise UsageError(
                f"{pipeline.method.name} learns from volumes and {spec.name} has none",
                f"its layout is '{spec.layout.kind}'",
                "name data specs of volumes, the method dino for slides, or joint2d3d for "
                "radiographs and volumes together",
            )
    of_its_own = isinstance(method, EmbeddingSettings) or method.takes_images
    check_patch(pipeline.train.patch, 1 if of_its_own else pipeline.network.side_multiple)
    joins = pipeline.network.name == "slice_unet"
    if joins != method.takes_images:
        raise UsageError(
            f"{pipeline.method.name} cannot pre-train network.name={pipeline.network.name}",
            "only joint2d3d learns a network of slices, and no other one",
            "set network.name=slice_unet" if method.takes_images else "set method=joint2d3d",
        )
    unknown = set(pipeline.train.joint.loose) - {s.name for s in specs if s.layout.kind != IMAGES}
    if unknown:
        raise UsageError(
            f"train.joint.loose names {' and '.join(sorted(unknown))}",
            "only slices of the pipeline's own data sets of volumes can be images too",
            "name data sets of volumes that stand under data",
        )
    return PretrainConfig(pipeline, method, specs)
