"""Pairs of patients, mined by an anatomical embedding that is trained first, as its own stage."""

from pathlib import Path

from medssl.data.scan.matched_stream import MatchedStream, scans_of
from medssl.data.scan.matching_settings import MatchedViews
from medssl.data.scan.sessions import Sessions
from medssl.device import choose_device
from medssl.environment import cache_root
from medssl.errors import UsageError
from medssl.families.pretrain.cohort import PretrainPlan
from medssl.families.pretrain.config import PretrainConfig, PretrainTrainSettings
from medssl.infer.embed import EmbeddedScans
from medssl.methods.settings import EmbeddingFirst
from medssl.pipeline.plan import Job, make_plan
from medssl.pipeline.progress import Counted
from medssl.pipeline.run import carry_out_plan
from medssl.pipeline.sections import method_settings
from medssl.settings import MethodChoice, OptimiserSettings
from medssl.train.embedder_checkpoint import load_embedder


def embedding_plan(plan: PretrainPlan, needed: EmbeddingFirst) -> PretrainPlan:
    """The pre-training of the embedding, on the same patients with the same probes.

    It depends on nothing of the method but what it asks for, so all arms share it.
    """
    pipeline = plan.config.pipeline
    train = PretrainTrainSettings(
        steps=needed.steps,
        patch=needed.window(pipeline.train.patch),
        batch_scans=needed.batch,
        optimiser=OptimiserSettings(
            name="adamw", learning_rate=needed.learning_rate, schedule="cosine"
        ),
        validate_every=needed.steps,
        threads=pipeline.train.threads,
        device=pipeline.train.device,
        deterministic=pipeline.train.deterministic,
    )
    method = MethodChoice(name=needed.method, **needed.settings)
    own = pipeline.model_copy(update={"method": method, "train": train})
    settings = method_settings(method)
    return make_plan(PretrainConfig(own, settings, plan.config.specs), plan.cohort, plan.kept_out)


def matched_stream(job: Job, views: MatchedViews, sessions: Sessions) -> MatchedStream:
    """Pairs of windows of two patients; the embedding is trained now where it is not there yet.

    Raises:
        Stopped: a signal asked for it.
        UsageError: the given embedding saw volumes that were prepared otherwise.
        DataError: there is one patient only.
    """
    plan: PretrainPlan = job.plan
    pipeline, needed = plan.config.pipeline, plan.config.method.needs()
    scans, embedded = scans_of(sessions), None
    if needed is not None:
        if needed.checkpoint is not None:
            folder = Path(needed.checkpoint)
        else:
            job.reporter.note(
                f"{pipeline.method.name} pairs patients by an anatomical embedding, which comes "
                "first"
            )
            folder = carry_out_plan(embedding_plan(plan, needed), job.reporter)["model"]
        embedder, described = load_embedder(folder)
        if unlike := pipeline.preprocess.unlike(described.preprocess):
            raise UsageError(
                f"the embedding in {folder} does not fit: it was trained on images that look "
                "otherwise",
                f"preprocess differs: {unlike}",
                "leave method.embedding.checkpoint out, and one is trained",
            )
        device = choose_device(pipeline.train.device)
        embedded = EmbeddedScans(cache_root(), embedder, device)
        with Counted(job.reporter) as counted:
            embedded.prepare(scans, counted)
    return MatchedStream(
        scans, views, pipeline.train.batch_pairs, pipeline.train.patch, pipeline.seed, embedded
    )
