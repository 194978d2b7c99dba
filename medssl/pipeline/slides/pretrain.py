"""The pre-training stage of slides: an encoder of tiles, from a few random tiles of each slide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from medssl.data.layouts import find_cases
from medssl.data.slide.sample import sample_slides
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tile_batch import TileStream
from medssl.data.spec import Case, load_spec
from medssl.device import choose_device
from medssl.environment import cache_root, runs_root
from medssl.errors import UsageError
from medssl.methods.pretrain.dino import Dino
from medssl.methods.registry import implementation
from medssl.methods.settings import MethodSettings
from medssl.networks.tile_settings import TileEncoderSettings
from medssl.pipeline.config import digest, method_settings, read_pipeline, validate
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.pipeline.slides.bags import encoder_key
from medssl.pipeline.slides.settings import TilePretrainPipeline
from medssl.pipeline.stage import Stage, Subject, carry_out
from medssl.train.checkpoint import DataCard, save_checkpoint
from medssl.train.fingerprint import code_version, fingerprint
from medssl.train.loop import Hooks, configure_torch, fit
from medssl.train.track import Tracker


class EncoderCheckpoint(BaseModel):
    """The description beside the weights of a pre-trained encoder of tiles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    family: Literal["pretrain"] = "pretrain"
    tiles: TileSettings
    encoder: TileEncoderSettings
    method: dict[str, Any]
    paper: str
    data: DataCard
    code: str
    step: int


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


def pretrain_tiles(
    name_or_path: str, overrides: list[str], reporter: QuietReporter, resume: bool = True
) -> Path:
    """Pre-train what a pipeline says; returns the folder of the encoder's checkpoint.

    Give it to a pipeline of slides as `encoder.weights=FOLDER/weights.safetensors`.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        UsageError, DataError: the settings or the slides do not allow it.
    """
    pipeline = validate(TilePretrainPipeline, read_pipeline(name_or_path, overrides))
    settings = method_settings(pipeline.method)
    spec = load_spec(pipeline.data)
    if spec.layout.kind != "slides":
        raise UsageError(
            f"{pipeline.method.name} learns from tiles of slides and {spec.name} has none",
            f"its layout is '{spec.layout.kind}'",
            "name a data spec with the layout 'slides'",
        )
    choose_device(pipeline.train.device)
    cases = find_cases(spec)
    stage = _stage(pipeline, settings, cases)
    target = stage.folder / "checkpoint" / "last"
    resolved = _resolved(pipeline, settings)
    described = EncoderCheckpoint(
        tiles=pipeline.tiles,
        encoder=pipeline.encoder,
        method=resolved["method"],
        paper=settings.paper,
        data=DataCard.of(spec),
        code=code_version(),
        step=0,
    )

    def work(tracker: Tracker) -> dict[str, Any]:
        stream = TileStream(_sample(pipeline, cases, reporter), pipeline.train.batch, pipeline.seed)
        reporter.note(f"{len(stream)} tiles")
        method: Dino = implementation(settings)(settings, pipeline.encoder, pipeline.seed)
        if (report := method.encoder().report) is not None:
            reporter.note(f"weights {pipeline.encoder.weights}: {report}")

        def save(kind: str, step: int, _: dict[str, float]) -> None:
            save_checkpoint(target, method.encoder(), described.model_copy(update={"step": step}))

        configure_torch(pipeline.train.threads, pipeline.train.deterministic)
        fit(
            method,
            {"tiles": stream},
            pipeline.train,
            lambda batch, _: batch,
            pipeline.seed,
            stage.folder / "state.pt",
            Hooks(None, save),
            reporter,
            tracker,
        )
        tracker.artifact(target, "checkpoint")
        return {}

    label, tags = f"{pipeline.method.name} seed={pipeline.seed}", {"method": pipeline.method.name}
    subject = Subject(pipeline.name, label, resolved, None, tags)
    carry_out(stage, subject, work, reporter, resume=resume)
    return target


def _stage(pipeline: TilePretrainPipeline, settings: MethodSettings, cases: list[Case]) -> Stage:
    plain = _resolved(pipeline, settings)
    for key in ("name", "title"):
        plain.pop(key)
    for key in ("log_every", "checkpoint_every", "threads", "device"):
        plain["train"].pop(key)
    weights = encoder_key(pipeline.encoder, pipeline.seed)
    key = digest([plain, weights, fingerprint(cases)])
    return Stage("pretrain", key, runs_root() / pipeline.name / f"pretrain-{key}")


def _resolved(pipeline: TilePretrainPipeline, settings: MethodSettings) -> dict[str, Any]:
    plain: dict[str, Any] = pipeline.model_dump(mode="json", exclude={"method"})
    plain["method"] = {"name": pipeline.method.name, **settings.model_dump(mode="json")}
    return plain


def _sample(
    pipeline: TilePretrainPipeline, cases: list[Case], reporter: QuietReporter
) -> list[_Sampled]:
    slides = {case.id: case.images["slide"] for case in cases}
    with Counted(reporter) as counted:
        paths = sample_slides(
            slides,
            cache_root() / "tiles" / pipeline.data,
            pipeline.tiles,
            pipeline.train.per_slide,
            pipeline.seed,
            on_progress=counted,
        )
    return [_Sampled(name, path) for name, path in zip(slides, paths, strict=True)]
