"""The pre-trained encoder that a grader starts from: pre-trained if need be, and checked."""

from pathlib import Path

from medssl.data.split import patient_key, verify_unseen
from medssl.errors import UsageError
from medssl.networks.settings import NetworkSettings
from medssl.pipeline.grades.config import GradeConfig
from medssl.pipeline.grades.plan import FoundImages, make_grade_plan
from medssl.pipeline.pretrain.config import load_pretrain_config
from medssl.pipeline.pretrain.plan import PretrainPlan, make_pretrain_plan
from medssl.pipeline.progress import QuietReporter
from medssl.settings import EncoderSource
from medssl.train.description import WEIGHTS
from medssl.train.encoder_checkpoint import read_encoder


def with_encoder(config: GradeConfig, found: FoundImages, reporter: QuietReporter) -> GradeConfig:
    """`config` with the weights of the encoder that it names, which is pre-trained if need be.

    Pre-training takes the run's own seed, unless `pretrain.set` gives one, and sees no image that
    the run tests.

    Raises:
        Stopped, UsageError, DataError: as `medssl.pipeline.pretrain.run.pretrain_stage`; also where
            the encoder does not fit the network, or a given one has seen a test image.
    """
    choice = config.pipeline.pretrain
    if choice is None:
        return config
    plan = _pretraining(config, choice, found)
    if plan is None:
        trained = read_encoder(choice.folder)
        _must_fit(config, trained.network)
        split = make_grade_plan(config, found).split
        verify_unseen(split, found.cases, config.spec.name, trained.seen)
        return _starting_at(config, choice.folder)
    _must_fit(config, plan.config.pipeline.network)
    from medssl.pipeline.pretrain.run import pretrain_stage

    pretrain_stage(plan, reporter)
    return _starting_at(config, plan.checkpoint)


def with_finished_encoder(config: GradeConfig, found: FoundImages) -> GradeConfig | None:
    """As `with_encoder`, but None where the pre-training has yet to run."""
    choice = config.pipeline.pretrain
    if choice is None:
        return config
    plan = _pretraining(config, choice, found)
    if plan is None:
        return _starting_at(config, choice.folder)
    return _starting_at(config, plan.checkpoint) if plan.stage.done else None


def _pretraining(
    config: GradeConfig, choice: EncoderSource, found: FoundImages
) -> PretrainPlan | None:
    """The pre-training that a run names; None where it names a checkpoint."""
    if choice.pipeline is None:
        return None
    test = set(make_grade_plan(config, found).split.test)
    name = config.spec.name
    tested = {patient_key(name, case.patient) for case in found.cases if case.id in test}
    overrides = [f"seed={config.pipeline.seed}", *choice.set]
    return make_pretrain_plan(load_pretrain_config(choice.pipeline, overrides), tested)


def _starting_at(config: GradeConfig, folder: Path) -> GradeConfig:
    network = config.pipeline.network.model_copy(update={"weights": str(folder / WEIGHTS)})
    source = EncoderSource(checkpoint=str(folder))
    pipeline = config.pipeline.model_copy(update={"network": network, "pretrain": source})
    return GradeConfig(pipeline, config.method, config.spec)


def _must_fit(config: GradeConfig, trained: NetworkSettings) -> None:
    network = config.pipeline.network
    if trained.name != "slice_unet":
        raise UsageError(
            f"an encoder of {trained.name} cannot grade images",
            do="pre-train with network.name=slice_unet, as `medssl pretrain joint2d3d` does",
        )
    if network.name != "slices" or network.slice_encoder != trained.slice_encoder:
        wanted = trained.slice_encoder.model_dump(exclude_defaults=True)
        keys = " ".join(f"network.slice_encoder.{key}={value}" for key, value in wanted.items())
        raise UsageError(
            "the pre-trained encoder does not fit the pipeline's network",
            f"it is for network.name=slices {keys}".rstrip(),
            "set these",
        )
