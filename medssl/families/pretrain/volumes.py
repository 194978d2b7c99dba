"""Pre-training on volumes: their sessions, the streams of windows, and the probes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from medssl.data.prefetch import BatchStream
from medssl.data.rest import Rest
from medssl.data.scan.sessions import Sessions, prepare_sessions
from medssl.data.scan.stream import PairStream, ScanStream, single_scans
from medssl.data.spec import Case, DataSpec
from medssl.environment import cache_root
from medssl.families.pretrain.cohort import PretrainPlan
from medssl.families.pretrain.config import PretrainConfig
from medssl.families.pretrain.matched import matched_stream
from medssl.families.pretrain.pretrain import Probing
from medssl.families.pretrain.probe import Probes, draw_looks, draw_partners
from medssl.keyed import own_key
from medssl.methods.encoder_method import PretrainMethod, PretrainTask
from medssl.networks.build import build_encoder
from medssl.networks.encoder_fit import learnt_sides
from medssl.networks.transfer import PretrainedEncoder, transfer
from medssl.networks.trial import must_answer
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.train.checkpoint import DataCard
from medssl.train.embedder_checkpoint import read_embedder
from medssl.train.encoder_checkpoint import load_encoder_weights
from medssl.train.track import Tracker
from medssl.transforms.chain import Preprocess


def learner(job: Job) -> tuple[PretrainMethod, Mapping[str, BatchStream]]:
    """The method with fresh networks, and what it learns from.

    Raises:
        UsageError, DataError: the settings or the data do not allow it.
    """
    plan: PretrainPlan = job.plan
    pipeline = plan.config.pipeline
    if pipeline.network.packages and not plan.config.method.own_network:
        must_answer(pipeline.network, 1, 1, pipeline.train.patch, pipeline.train.batch_scans)
    start = load_start(plan.config, job.reporter)
    sessions = prepare_volumes(
        plan.cohort.train, plan.config, job.reporter, pipeline.preprocess.kept
    )
    method = build_method(plan.config, sessions, start)
    return method, build_streams(job, method, sessions)


def load_start(config: PretrainConfig, reporter: QuietReporter) -> PretrainedEncoder | None:
    """The encoder that a pre-training goes on with; None where it begins anew.

    Raises:
        UsageError, DataError: it cannot be read, or does not fit.
    """
    choice = config.pipeline.pretrain
    if choice is None:
        return None
    weights, found = load_encoder_weights(choice.folder)
    config.must_fit(found.network, f"the encoder in {choice.folder}")
    sides = learnt_sides(found.network)
    given = PretrainedEncoder(weights, choice.matched, choice.channels, sides=sides)
    report = transfer(build_encoder(config.pipeline.network, 1, 0), given)
    reporter.note(f"goes on with the encoder from {choice.folder}: {report}")
    return given


def build_method(
    config: PretrainConfig, sessions: Sessions, start: PretrainedEncoder | None = None
) -> PretrainMethod:
    """The method with networks that are fresh but for the encoder to start from."""
    pipeline = config.pipeline
    task = PretrainTask(
        network=pipeline.network,
        patch=pipeline.train.patch,
        contrasts=sessions.contrasts,
        patients=len(sessions.patients),
        start=start,
        anatomy=_anatomy(config),
    )
    built: PretrainMethod = config.build(task)
    return built


def _anatomy(config: PretrainConfig) -> int:
    """Width of what the embedding says of a window's place; 0 where it is not asked."""
    views, needed = config.method.pairs_of_patients(), config.method.needs()
    if views is None or needed is None or not views.overlap:
        return 0
    if needed.checkpoint is not None:
        return 2 * read_embedder(Path(needed.checkpoint)).embedder.features
    return 2 * int(needed.settings["embedder"]["features"])


def build_streams(job: Job, method: PretrainMethod, sessions: Sessions) -> dict[str, BatchStream]:
    """The streams the method asks for; single scans beside pairs may be missing.

    Raises:
        DataError: there are no pairs of two patients, or no scans, and the method needs them.
    """
    config: PretrainConfig = job.plan.config
    views = config.method.pairs_of_patients()
    if views is not None:
        return {"pairs": matched_stream(job, views, sessions)}
    train, seed = config.pipeline.train, config.pipeline.seed
    rest = Rest(config.pipeline.preprocess.rest)
    pairs, affine = method.pairs(), method.affine()
    found: dict[str, BatchStream] = {}
    if pairs is not None:
        sessions.require_pairs(pairs)
        if dropped := sessions.dropped(pairs):
            job.reporter.note(dropped)
        found["pairs"] = PairStream(
            sessions.groups, pairs, affine, train.patch, train.batch_pairs, seed, rest
        )
    if "scans" in method.streams and (pairs is None or single_scans(sessions.groups, pairs)):
        found["scans"] = ScanStream(
            sessions.groups, pairs, affine, train.patch, train.batch_scans, seed, rest
        )
    return found


def prepare_volumes(
    sources: Sequence[tuple[DataSpec, Sequence[Case]]],
    config: PretrainConfig,
    reporter: QuietReporter,
    chain: Preprocess | None = None,
) -> Sessions:
    """The scans of data sets, preprocessed in the cache.

    Args:
        chain: what is done to them; None: all but what draws.

    Raises:
        DataError: a file is missing or damaged.
    """
    cases = sum(len(part) for _, part in sources)
    names = " and ".join(spec.name for spec, _ in sources)
    reporter.note(f"{cases} cases of {names}: preprocessing what is not cached")
    with Counted(reporter) as counted:
        return prepare_sessions(
            sources, chain or config.pipeline.preprocess.certain, cache_root(), on_progress=counted
        )


def description(plan: PretrainPlan, method: PretrainMethod) -> BaseModel:
    """What the checkpoint says of itself, but for its step and metrics."""
    config, pipeline = plan.config, plan.config.pipeline
    told: dict[str, Any] = {
        **config.provenance(),
        "data": tuple(DataCard.of(spec) for spec in config.specs),
        "preprocess": pipeline.preprocess,
        "patch": pipeline.train.patch,
        "step": 0,
        "metrics": {},
        "seen": plan.cohort.seen,
        "key": own_key().name,
    }
    return method.described(pipeline.network, config.contrasts, told)


def probes(job: Job, method: PretrainMethod, tracker: Tracker) -> Probing | None:
    """The probes on held-out patients; None where there are none."""
    plan: PretrainPlan = job.plan
    sources = [(spec, cases) for spec, cases in plan.cohort.probed if cases]
    if not sources:
        return None
    config, probe = plan.config, plan.config.pipeline.probe
    held_out = prepare_volumes(sources, config, job.reporter)
    if config.method.hands_on == "embedding":
        from medssl.families.pretrain.matching_probe import MatchingProbes

        return MatchingProbes(job, method, tracker, held_out, sources)
    drawn = (config.pipeline.train.patch, probe.windows, probe.seed)
    looks, partners = draw_looks(held_out.groups, *drawn), None
    if config.method.pairs_of_patients() is not None:
        partners = draw_partners(held_out, *drawn)
    # Contrasts are numbered over all data sets, also those of which no patient is probed.
    return Probes(job, method, tracker, looks, partners, held_out.contrasts)
