"""Pre-training on slides: an encoder of tiles, from a few random tiles of each slide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from medssl.data.prefetch import BatchStream
from medssl.data.rest import Rest
from medssl.data.slide.sample import sample_slides
from medssl.data.slide.tile_batch import TileStream
from medssl.data.spec import Case
from medssl.environment import cache_root
from medssl.families.pretrain.cohort import PretrainCohort
from medssl.families.pretrain.config import TileConfig
from medssl.keyed import own_key
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.networks.trial import must_be_alike
from medssl.pipeline.plan import Job, Plan
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.train.tile_checkpoint import TileEncoderCheckpoint
from medssl.train.track import Tracker


@dataclass(frozen=True)
class _Sampled:
    """The drawn tiles of one slide; a `medssl.data.slide.tile_batch.TileSource`."""

    id: str
    path: Path

    @property
    def tiles(self) -> np.ndarray:
        """[n, S, S, 3] uint8, mapped from the file."""
        tiles: np.ndarray = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return tiles


def learner(job: Job) -> tuple[Any, Mapping[str, BatchStream]]:
    """The method with fresh networks, and its stream of tiles.

    Raises:
        UsageError, DataError: the settings or the slides do not allow it.
    """
    plan: Plan[TileConfig, PretrainCohort] = job.plan
    config, pipeline = plan.config, plan.config.pipeline
    config.try_encoder()
    tiles = _sample(config, plan.cohort.cases, job.reporter)
    stream = TileStream(
        tiles, pipeline.train.batch, pipeline.seed, rest=Rest(pipeline.preprocess.rest)
    )
    job.reporter.note(f"{len(stream)} tiles")
    method = config.build(pipeline.encoder)
    must_be_alike(
        [method.encoder()],
        build_tile_encoder(pipeline.encoder.model_copy(update={"weights": None}), seed=0),
        pipeline.encoder.name,
        "have the method take its encoder from medssl.networks.tile_encoder.build_tile_encoder",
        "encoder",
    )
    if (report := method.encoder().report) is not None:
        job.reporter.note(f"weights {pipeline.encoder.weights}: {report}")
    return method, {"tiles": stream}


def description(plan: Plan[TileConfig, PretrainCohort], method: Any) -> BaseModel:
    """What the checkpoint says of itself, but for its step and metrics."""
    config, pipeline = plan.config, plan.config.pipeline
    return TileEncoderCheckpoint(
        tiles=pipeline.tiles,
        preprocess=pipeline.preprocess,
        encoder=pipeline.encoder,
        **config.provenance(),
        step=0,
        metrics={},
        seen=plan.cohort.seen,
        key=own_key().name,
        packages=pipeline.encoder.packages,
    )


def probes(job: Job, method: Any, tracker: Tracker) -> None:
    """No probes: nothing is asked of an encoder of tiles while it learns."""


def _sample(config: TileConfig, cases: Sequence[Case], reporter: QuietReporter) -> list[_Sampled]:
    pipeline = config.pipeline
    slides = {case.id: case.images["slide"] for case in cases}
    with Counted(reporter) as counted:
        paths = sample_slides(
            slides,
            cache_root() / "tiles" / pipeline.data,
            pipeline.tiles,
            pipeline.train.per_slide,
            pipeline.seed,
            on_progress=counted,
            chain=pipeline.preprocess.kept,
        )
    return [_Sampled(name, path) for name, path in zip(slides, paths, strict=True)]
