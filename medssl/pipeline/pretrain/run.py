"""The pre-training stage: sessions, streams, loop, probes, checkpoint of the encoder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from medssl.data.scan.sessions import Sessions, prepare_sessions
from medssl.data.scan.stream import PairStream, ScanStream, single_scans
from medssl.data.spec import Case, DataSpec
from medssl.data.stream import BatchStream
from medssl.device import choose_device
from medssl.environment import cache_root
from medssl.methods.method import JointMethod, PretrainMethod, PretrainTask
from medssl.methods.pretrain.anatomical_embedding import AnatomicalEmbedding
from medssl.methods.registry import implementation
from medssl.methods.settings.alice import Settings as AliceSettings
from medssl.methods.settings.anatomical_embedding import Settings as EmbeddingSettings
from medssl.pipeline.pretrain.config import PretrainConfig
from medssl.pipeline.pretrain.joint import joint_learner, joint_probes
from medssl.pipeline.pretrain.joint_probe import JointProbes
from medssl.pipeline.pretrain.matched import matched_stream
from medssl.pipeline.pretrain.matching_probe import MatchingProbes
from medssl.pipeline.pretrain.plan import PROBES, PretrainPlan
from medssl.pipeline.pretrain.probe import Probes
from medssl.pipeline.pretrain.probe_table import probe_lines
from medssl.pipeline.pretrain.probe_windows import draw_looks, draw_partners
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.pipeline.stage import carry_out, read_numbers
from medssl.train.checkpoint import DataCard, save_checkpoint
from medssl.train.embedder_checkpoint import EmbedderCheckpoint
from medssl.train.encoder_checkpoint import VolumeEncoderCheckpoint
from medssl.train.fingerprint import code_version
from medssl.train.loop import Hooks, configure_torch, fit
from medssl.train.track import Tracker


def pretrain_stage(plan: PretrainPlan, reporter: QuietReporter, resume: bool = True) -> Path:
    """Pre-train unless it is done; returns the folder of the encoder's checkpoint.

    Give that folder to a segmentation pipeline as `pretrain=FOLDER`.

    Args:
        resume: false trains anew even where a state is kept.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        UsageError, DataError: the settings or the data do not allow it.
    """
    choose_device(plan.config.pipeline.train.device)
    # What does not fit is refused before anything is written.
    learner = None if plan.stage.done and resume else _learner(plan, reporter)

    def work(tracker: Tracker) -> dict[str, Any]:
        method, streams = learner or _learner(plan, reporter)
        probes = _probes(plan, method, reporter, tracker)
        if probes is not None:
            probes.begin()
        _train(plan, method, streams, probes, reporter, tracker)
        tracker.artifact(plan.checkpoint, "checkpoint")
        return {"patients": len(plan.seen)}

    carry_out(plan.stage, plan.subject, work, reporter, resume=resume)
    _tell(plan, reporter)
    return plan.checkpoint


def _tell(plan: PretrainPlan, reporter: QuietReporter) -> None:
    """What the probes found, where there were any."""
    lines = probe_lines(read_numbers(plan.stage.folder / PROBES))
    if lines:
        reporter.note("\n".join(["probes of patients kept out of training:", *lines]))


def _learner(
    plan: PretrainPlan, reporter: QuietReporter
) -> tuple[PretrainMethod | JointMethod, Mapping[str, BatchStream]]:
    """The method, with what it learns from."""
    config = plan.config
    if config.method.takes_images:
        return joint_learner(plan, reporter)
    sessions = _prepare(plan.train, config, reporter)
    method = build_method(config, sessions)
    return method, build_streams(plan, method, sessions, reporter)


def build_method(config: PretrainConfig, sessions: Sessions) -> PretrainMethod:
    """The method with freshly initialised networks."""
    pipeline = config.pipeline
    task = PretrainTask(
        network=pipeline.network,
        patch=pipeline.train.patch,
        contrasts=sessions.contrasts,
        patients=len(sessions.patients),
    )
    built: PretrainMethod = implementation(config.method)(config.method, task, pipeline.seed)
    return built


def build_streams(
    plan: PretrainPlan, method: PretrainMethod, sessions: Sessions, reporter: QuietReporter
) -> dict[str, BatchStream]:
    """The streams the method asks for; single scans beside pairs may be missing.

    The pairs of Alice are mined by an anatomical embedding, which is trained first.

    Raises:
        DataError: there are no pairs of two patients, or no scans, and the method needs them.
    """
    config = plan.config
    if isinstance(config.method, AliceSettings):
        return {"pairs": matched_stream(plan, config.method, sessions, reporter)}
    train, seed = config.pipeline.train, config.pipeline.seed
    pairs, affine = method.pairs(), method.affine()
    found: dict[str, BatchStream] = {}
    if pairs is not None:
        sessions.require_pairs(pairs)
        if dropped := sessions.dropped(pairs):
            reporter.note(dropped)
        found["pairs"] = PairStream(
            sessions.groups, pairs, affine, train.patch, train.batch_pairs, seed
        )
    if "scans" in method.streams and (pairs is None or single_scans(sessions.groups, pairs)):
        found["scans"] = ScanStream(
            sessions.groups, pairs, affine, train.patch, train.batch_scans, seed
        )
    return found


def _prepare(
    sources: Sequence[tuple[DataSpec, Sequence[Case]]],
    config: PretrainConfig,
    reporter: QuietReporter,
) -> Sessions:
    cases = sum(len(part) for _, part in sources)
    names = " and ".join(spec.name for spec, _ in sources)
    reporter.note(f"{cases} cases of {names}: preprocessing what is not cached")
    with Counted(reporter) as counted:
        return prepare_sessions(
            sources, config.pipeline.preprocess, cache_root(), on_progress=counted
        )


def _probes(
    plan: PretrainPlan,
    method: PretrainMethod | JointMethod,
    reporter: QuietReporter,
    tracker: Tracker,
) -> Probes | JointProbes | MatchingProbes | None:
    """The probes on held-out patients; None where there are none."""
    if isinstance(method, JointMethod):
        return joint_probes(plan, method, reporter, tracker)
    sources = [(spec, cases) for spec, cases in plan.probed if cases]
    if not sources:
        return None
    config, probe = plan.config, plan.config.pipeline.probe
    held_out = _prepare(sources, config, reporter)
    device = choose_device(config.pipeline.train.device)
    if isinstance(method, AnatomicalEmbedding):
        return MatchingProbes(method, held_out, sources, probe, device, plan.stage.folder, tracker)
    drawn = (config.pipeline.train.patch, probe.windows, probe.seed)
    looks, partners = draw_looks(held_out.groups, *drawn), None
    if isinstance(config.method, AliceSettings):
        partners = draw_partners(held_out, *drawn)
    # Contrasts are numbered over all data sets, also those of which no patient is probed.
    seen = (looks, partners, held_out.contrasts)
    return Probes(method, *seen, probe, device, plan.stage.folder, tracker)


def _train(
    plan: PretrainPlan,
    method: PretrainMethod | JointMethod,
    streams: Mapping[str, BatchStream],
    probes: Probes | JointProbes | MatchingProbes | None,
    reporter: QuietReporter,
    tracker: Tracker,
) -> None:
    chosen = plan.config.pipeline.train
    configure_torch(chosen.threads, chosen.deterministic)
    fit(
        method,
        streams,
        chosen,
        lambda batch, _: batch,
        plan.config.pipeline.seed,
        plan.stage.folder / "state.pt",
        Hooks(probes, _Saver(plan, method), selects=None),
        reporter,
        tracker,
    )


class _Saver:
    """Writes what is handed on as checkpoint `last`: an encoder, or what gives places vectors."""

    def __init__(self, plan: PretrainPlan, method: PretrainMethod | JointMethod) -> None:
        self._plan, self._method = plan, method

    def __call__(self, kind: str, step: int, metrics: dict[str, float]) -> None:
        """Write the checkpoint."""
        config, pipeline = self._plan.config, self._plan.config.pipeline
        common: dict[str, Any] = {
            "preprocess": pipeline.preprocess,
            "patch": pipeline.train.patch,
            "method": config.method_values(),
            "paper": config.method.paper,
            "data": tuple(DataCard.of(spec) for spec in config.specs),
            "code": code_version(),
            "step": step,
            "metrics": metrics,
            "seen": self._plan.seen,
        }
        described: BaseModel
        if isinstance(config.method, EmbeddingSettings):
            described = EmbedderCheckpoint(embedder=config.method.embedder, **common)
        else:
            described = VolumeEncoderCheckpoint(
                network=pipeline.network, contrasts=config.contrasts, **common
            )
        save_checkpoint(self._plan.checkpoint, self._method.encoder(), described)
