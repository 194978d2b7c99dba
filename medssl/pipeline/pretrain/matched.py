"""What Alice learns from: the anatomical embedding as a stage of its own, and pairs mined by it."""

from dataclasses import replace
from pathlib import Path

from medssl.data.scan.matched_stream import MatchedStream, scans_of
from medssl.data.scan.sessions import Sessions
from medssl.device import choose_device
from medssl.environment import cache_root
from medssl.errors import UsageError
from medssl.infer.embed import EmbeddedScans
from medssl.methods.settings.alice import Settings
from medssl.pipeline.config import method_settings
from medssl.pipeline.pretrain.config import PretrainConfig
from medssl.pipeline.pretrain.plan import PretrainPlan, stage_of
from medssl.pipeline.pretrain.settings import PretrainTrainSettings
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.settings import MethodChoice, OptimiserSettings
from medssl.train.embedder_checkpoint import load_embedder

CELL = 16
"""Windows of the embedding are multiples of this: whole coarse cells of either network."""

SAME = ("orientation", "spacing", "intensity", "window")
"""Keys of preprocessing without which vectors mean nothing."""


def embedding_plan(plan: PretrainPlan, settings: Settings) -> PretrainPlan:
    """The stage that trains the embedding, on the same patients with the same probes.

    It depends on nothing of Alice but the embedding's own settings, so all arms share it.
    """
    pipeline, chosen = plan.config.pipeline, settings.embedding
    values = chosen.method.model_dump(mode="json")
    train = PretrainTrainSettings(
        steps=chosen.steps,
        patch=chosen.patch or _window(pipeline.train.patch),
        batch_scans=chosen.batch,
        optimiser=OptimiserSettings(
            name="adamw", learning_rate=chosen.learning_rate, schedule="cosine"
        ),
        validate_every=chosen.steps,
        threads=pipeline.train.threads,
        device=pipeline.train.device,
        deterministic=pipeline.train.deterministic,
    )
    own = pipeline.model_copy(
        update={
            "method": MethodChoice(name="anatomical_embedding", **values),
            "train": train,
        }
    )
    config = PretrainConfig(own, method_settings(own.method), plan.config.specs)
    return replace(plan, config=config, stage=stage_of(config, plan.train, plan.probed))


def embedding_of(plan: PretrainPlan, settings: Settings, reporter: QuietReporter) -> Path:
    """Folder of the embedding that Alice is to mine with; trained now where it is not there yet.

    Raises:
        Stopped, UsageError, DataError: as the pre-training stage.
    """
    given = settings.embedding.checkpoint
    if given is not None:
        return Path(given)
    from medssl.pipeline.pretrain.run import pretrain_stage

    reporter.note("Alice mines by an anatomical embedding, which comes first")
    return pretrain_stage(embedding_plan(plan, settings), reporter)


def matched_stream(
    plan: PretrainPlan, settings: Settings, sessions: Sessions, reporter: QuietReporter
) -> MatchedStream:
    """Pairs of windows as `settings.views` asks.

    Raises:
        UsageError: the given embedding saw volumes that were prepared otherwise.
        DataError: there is one patient only.
    """
    train = plan.config.pipeline.train
    scans, embedded = scans_of(sessions), None
    if settings.views.partner == "matched":
        folder = embedding_of(plan, settings, reporter)
        embedder, described = load_embedder(folder)
        own = plan.config.pipeline.preprocess
        for key in SAME:
            if getattr(own, key) != getattr(described.preprocess, key):
                raise UsageError(
                    f"the embedding in {folder} does not fit: it was trained with "
                    f"preprocess.{key}={getattr(described.preprocess, key)}",
                    f"here it is {getattr(own, key)}",
                    "leave method.embedding.checkpoint out, and one is trained",
                )
        embedded = EmbeddedScans(cache_root(), embedder, choose_device(train.device))
        with Counted(reporter) as counted:
            embedded.prepare(scans, counted)
    return MatchedStream(
        scans, settings.views, train.batch_pairs, train.patch, plan.config.pipeline.seed, embedded
    )


def _window(patch: tuple[int, int, int]) -> tuple[int, int, int]:
    """One and a half times a patch, in whole coarse cells."""
    x, y, z = (max(CELL, round(1.5 * side / CELL) * CELL) for side in patch)
    return x, y, z
