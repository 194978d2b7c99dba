"""Joint 2D-3D pre-training in the stage: data sets of images and of volumes, and their stream."""

from collections.abc import Mapping, Sequence

from medssl.data.layouts import layout_of
from medssl.data.mixed.stack import SliceStack, stack_scans
from medssl.data.mixed.stream import ImageStack, MixedSource, MixedStream
from medssl.data.prefetch import BatchStream
from medssl.data.radiograph.cache import cached_crops
from medssl.data.spec import Case, DataSpec
from medssl.environment import cache_root
from medssl.families.pretrain.cohort import PretrainPlan
from medssl.families.pretrain.config import PretrainConfig
from medssl.families.pretrain.mixed_probe import MixedProbes
from medssl.families.pretrain.volumes import description, load_start, prepare_volumes
from medssl.methods.encoder_method import MixedMethod, MixedTask
from medssl.networks.settings import NetworkSettings
from medssl.networks.slice_encoder import SliceEncoder
from medssl.networks.trial import must_pass
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.train.track import Tracker
from medssl.transforms.radiograph_chain import RadiographPreprocess

Sources = Sequence[tuple[DataSpec, Sequence[Case]]]

__all__ = ["description", "learner", "probes"]

PICTURED = {"images": 256, "volumes": 32}
"""How many of the training data are looked through for pictures of clusters."""


def learner(job: Job) -> tuple[MixedMethod, Mapping[str, BatchStream]]:
    """The method with fresh networks, and its stream.

    Raises:
        UsageError, DataError: the settings or the data do not allow it.
    """
    plan: PretrainPlan = job.plan
    pipeline, reporter = plan.config.pipeline, job.reporter
    _must_encode(plan.config)
    sources = joint_sources(plan.cohort.train, plan.config, reporter)
    stream = MixedStream(sources, pipeline.train.joint, pipeline.seed)
    reporter.note(
        f"{stream.images} images and loose slices, {stream.volumes} volumes, "
        f"{stream.numbered} images and slices in all"
    )
    task = MixedTask(
        network=pipeline.network,
        sources=tuple(source.name for source in sources),
        images=stream.images,
        numbered=stream.numbered,
        volumes=stream.volumes,
        start=load_start(plan.config, reporter),
    )
    return plan.config.build(task), {"joint": stream}


def _must_encode(config: PretrainConfig) -> None:
    """Refuse a network of MONAI that cannot encode all that the method shows it."""
    network = config.pipeline.network
    if not isinstance(network, NetworkSettings) or not network.packages:
        return
    encoder = network.slice_encoder
    for side in dict.fromkeys(config.method.tile_sides(config.pipeline.train.joint.side)):
        must_pass(
            SliceEncoder(encoder),
            (1, side, side),
            f"network.slice_encoder.name={encoder.name} cannot encode {side} x {side} pixels",
            "change its arguments or the sides, or name another network",
        )


def joint_sources(
    sources: Sources, config: PretrainConfig, reporter: QuietReporter
) -> list[MixedSource]:
    """Every data set, prepared in the cache: radiographs as bytes, scans as stacks of slices.

    Raises:
        DataError: a file is missing or damaged.
    """
    side, loose = config.pipeline.train.joint.side, config.pipeline.train.joint.loose
    stacks = _stacks(
        [pair for pair in sources if layout_of(pair[0]).content == "volumes"], config, reporter
    )
    found = []
    for spec, cases in sources:
        if layout_of(spec).content == "radiographs":
            chain = RadiographPreprocess.of({"radiograph": {"field": None, "side": side}})
            with Counted(reporter) as counted:
                crops = cached_crops(cases, chain, cache_root() / spec.name, on_progress=counted)
            images = ImageStack(tuple(case.id for case in cases), crops[:, 0])
            found.append(MixedSource(spec.name, images))
        else:
            found.append(MixedSource(spec.name, None, stacks[spec.name], spec.name in loose))
    return found


def probes(job: Job, method: MixedMethod, tracker: Tracker) -> MixedProbes | None:
    """The probes on held-out patients; None where no volume is held out."""
    plan: PretrainPlan = job.plan
    reporter = job.reporter
    held_out = [(spec, cases) for spec, cases in plan.cohort.probed if cases]
    sources = joint_sources(held_out, plan.config, reporter)
    if not any(source.volumes for source in sources):
        return None
    pipeline = plan.config.pipeline
    chosen = pipeline.train.joint
    learnt = joint_sources(plan.cohort.train, plan.config, reporter)
    pictured = chosen.model_copy(
        update={name: count for name, count in PICTURED.items() if getattr(chosen, name)}
    )
    batch = MixedStream(learnt, pictured, pipeline.probe.seed).batch(0)
    names = tuple(source.name for source in learnt)
    return MixedProbes(job, method, tracker, sources, batch, names)


def _stacks(
    sources: Sources, config: PretrainConfig, reporter: QuietReporter
) -> dict[str, tuple[SliceStack, ...]]:
    """The scans of every data set of volumes, by its name."""
    if not sources:
        return {}
    sessions = prepare_volumes(sources, config, reporter)
    with Counted(reporter) as counted:
        stacks = stack_scans(sessions.groups, config.pipeline.train.joint.side, counted)
    return {
        spec.name: tuple(stack for stack in stacks if stack.id.startswith(f"{spec.name}/"))
        for spec, _ in sources
    }
