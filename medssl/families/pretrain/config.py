"""What one pre-training does."""

from typing import Any, ClassVar

from medssl.data.layouts import layout_of
from medssl.data.scan.contrasts import Contrasts
from medssl.errors import UsageError
from medssl.families.pretrain.settings import PretrainPipeline, TilePretrainPipeline
from medssl.methods.settings import PretrainMethodSettings
from medssl.networks.tile_settings import encoder_hash
from medssl.pipeline.config import Config
from medssl.section import check_patch, digest

WITHOUT_EFFECT = {"train": {"log_every", "checkpoint_every", "threads", "device"}}
"""Keys that say how, not what, is computed; they are left out of hashes."""


class PretrainConfig(Config[PretrainPipeline]):
    """What one pre-training on volumes does, complete and checked."""

    file = PretrainPipeline
    about = "pre-train an encoder of volumes"
    kind = "volumes"
    reads: ClassVar[frozenset[str]] = frozenset({"volumes"})
    without_effect: ClassVar = WITHOUT_EFFECT

    method: PretrainMethodSettings

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Names of the known contrasts over all data sets, in order of appearance."""
        return Contrasts(self.specs).names

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "modality_invariant on ms_lesions, seed 0"."""
        pipeline = self.pipeline
        return f"{pipeline.method.name} on {' + '.join(pipeline.data)}, seed {pipeline.seed}"

    def declared(self) -> Any:
        """Channels and their other names."""
        return [[spec.channels, spec.aliases] for spec in self.specs]

    def shaping(self) -> list[Any]:
        """All that shapes the encoder but the cases, as plain values."""
        named = ("seed", "preprocess", "network", "method", "train", "probe")
        sections = {name: self.section(name) for name in named}
        return [digest([sections | {"data": list(self.pipeline.data)}, self.declared()])]

    def check(self) -> None:
        """Refuse settings that do not fit the method.

        Raises:
            UsageError: says what to set.
        """
        pipeline, method = self.pipeline, self.method
        check_patch(
            pipeline.train.patch, 1 if method.own_network else pipeline.network.side_multiple
        )
        self.check_network()
        volumes = {spec.name for spec in self.specs if layout_of(spec).content == "volumes"}
        if unknown := set(pipeline.train.joint.loose) - volumes:
            raise UsageError(
                f"train.joint.loose names {' and '.join(sorted(unknown))}",
                "only slices of the pipeline's own data sets of volumes can be images too",
                "name data sets of volumes that stand under data",
            )

    def check_network(self) -> None:
        """Refuse a network that the method cannot train.

        Raises:
            UsageError: says which one to name.
        """
        if self.pipeline.network.name == "slice_unet":
            raise UsageError(
                f"{self.pipeline.method.name} cannot pre-train network.name=slice_unet",
                "only a method that learns from images trains a network of slices",
                "name another network, or set method=joint2d3d",
            )


class MixedConfig(PretrainConfig):
    """What one pre-training on radiographs and volumes together does."""

    kind = "mixed"
    reads: ClassVar[frozenset[str]] = frozenset({"volumes", "radiographs"})

    def check_network(self) -> None:
        """Refuse any but a network of slices."""
        name = self.pipeline.network.name
        if name != "slice_unet":
            raise UsageError(
                f"{self.pipeline.method.name} cannot pre-train network.name={name}",
                "it learns a network of slices",
                "set network.name=slice_unet",
            )


class TileConfig(Config[TilePretrainPipeline]):
    """What one pre-training on tiles of slides does, complete and checked."""

    file = TilePretrainPipeline
    about = "pre-train an encoder of tiles"
    kind = "tiles"
    reads: ClassVar[frozenset[str]] = frozenset({"slides"})
    without_effect: ClassVar = WITHOUT_EFFECT

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "dino on slides, seed 0"."""
        return f"{self.pipeline.method.name} on {self.pipeline.data}, seed {self.pipeline.seed}"

    def declared(self) -> Any:
        """Nothing beyond the slides themselves."""
        return []

    def shaping(self) -> list[Any]:
        """All that shapes the encoder but the slides, as plain values."""
        named = ("seed", "tiles", "encoder", "method", "train")
        sections = {name: self.section(name) for name in named} | {"data": self.pipeline.data}
        return [sections, encoder_hash(self.pipeline.encoder, self.pipeline.seed)]
