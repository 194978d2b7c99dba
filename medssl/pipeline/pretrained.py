"""The pre-trained encoder that a pipeline starts from: read, checked, made ready."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medssl.data.spec import Case
from medssl.data.split import Split, patient_key, verify_unseen
from medssl.errors import UsageError
from medssl.networks.build import build_encoder
from medssl.networks.settings import NetworkSettings
from medssl.networks.transfer import PretrainedEncoder, transfer
from medssl.pipeline.cohort import split_cohort
from medssl.pipeline.config import Config
from medssl.pipeline.pretrain.config import load_pretrain_config
from medssl.pipeline.pretrain.plan import PROBES, PretrainPlan, make_pretrain_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import read_numbers
from medssl.settings import PreprocessSettings, PretrainChoice
from medssl.train.checkpoint import EncoderCard
from medssl.train.encoder_checkpoint import (
    VolumeEncoderCheckpoint,
    encoder_card,
    load_encoder_weights,
    read_encoder,
)
from medssl.train.loop import Reporter

LOOKS = ("orientation", "spacing", "intensity", "window")
"""Keys of preprocessing that decide how a structure looks to the network."""


@dataclass(frozen=True)
class Start:
    """What every network of a training starts from.

    Attributes:
        encoder: weights, and how they are taken.
        card: what the trained checkpoint remembers of them.
    """

    encoder: PretrainedEncoder
    card: EncoderCard


def with_encoder(config: Config, reporter: QuietReporter) -> Config:
    """`config` with the checkpoint of the pre-training that it names, which is run if need be.

    Pre-training takes the run's own seed, unless `pretrain.set` gives one, and sees no patient that
    the run tests. It depends on nothing else of the run, so runs share it.

    Raises:
        Stopped, UsageError, DataError: as `medssl.pipeline.pretrain.run.pretrain_stage`.
    """
    plan = _pretraining(config)
    if plan is None:
        return config
    from medssl.pipeline.pretrain.run import pretrain_stage

    pretrain_stage(plan, reporter)
    return _starting_at(config, plan.checkpoint)


def with_finished_encoder(config: Config) -> Config | None:
    """As `with_encoder`, but None where the pre-training has yet to run."""
    plan = _pretraining(config)
    if plan is None:
        return config
    return _starting_at(config, plan.checkpoint) if plan.stage.done else None


def encoder_probes(config: Config) -> dict[str, dict[str, float]]:
    """What the probes of the pre-training that a run names say; empty where they say nothing."""
    plan = _pretraining(config)
    found = None if plan is None else plan.stage.folder / PROBES
    return {} if found is None else read_numbers(found)


def _pretraining(config: Config) -> PretrainPlan | None:
    """The pre-training that a run names; None where it names none, or its checkpoint."""
    choice = config.pipeline.pretrain
    if choice is None or choice.pipeline is None:
        return None
    cases, split = split_cohort(config)
    test = set(split.test)
    tested = {patient_key(config.spec.name, case.patient) for case in cases if case.id in test}
    overrides = [f"seed={config.pipeline.seed}", *choice.set]
    return make_pretrain_plan(load_pretrain_config(choice.pipeline, overrides), tested)


def _starting_at(config: Config, folder: Path) -> Config:
    choice = config.pipeline.pretrain
    plain = {} if choice is None else choice.model_dump(exclude={"pipeline", "set"})
    found = PretrainChoice.model_validate(plain | {"checkpoint": str(folder)})
    pipeline = config.pipeline.model_copy(update={"pretrain": found})
    return Config(pipeline, config.method, config.spec)


def verify_start(config: Config, split: Split, cases: Sequence[Case]) -> None:
    """Check the encoder of a pipeline, if it has one, against its network and its test patients.

    Raises:
        UsageError: there is no such encoder, or it does not fit the network.
        DataError: it has seen a patient of the test cases, or its description is damaged.
    """
    choice = config.pipeline.pretrain
    if choice is None:
        return
    found = read_encoder(choice.folder)
    _must_fit(config.pipeline.network, found.network, choice)
    verify_unseen(split, cases, config.spec.name, found.seen)


def load_start(config: Config, reporter: Reporter) -> Start | None:
    """The encoder of a pipeline, tried on its network once; None where it asks for none.

    Tells the reporter what fits, and where images look otherwise than in pre-training.

    Raises:
        UsageError, DataError: it cannot be read, or too little of it fits.
    """
    choice, network = config.pipeline.pretrain, config.pipeline.network
    if choice is None:
        return None
    weights, found = load_encoder_weights(choice.folder)
    _must_fit(network, found.network, choice)
    given = PretrainedEncoder(weights, choice.matched, choice.channels)
    report = transfer(build_encoder(network, len(config.spec.channels), 0), given)
    reporter.note(f"encoder of {found.method.get('name')} from {choice.folder}: {report}")
    for note in _other_looks(config.pipeline.preprocess, found):
        reporter.note(note)
    return Start(given, encoder_card(choice.folder, found))


def _must_fit(network: NetworkSettings, trained: NetworkSettings, choice: PretrainChoice) -> None:
    own, other = network.encoder(), trained.encoder()
    if own is None:
        raise UsageError(
            f"network.name={network.name} has no encoder that pretrain could fill",
            do=f"set network.name={trained.name}, as in pre-training",
        )
    if own == other or other is None:
        return
    differing = [key for key, value in other.items() if own.get(key) != value]
    here = ", ".join(f"{key} {own[key]}" for key in differing if key in own)
    there = ", ".join(f"{key} {other[key]}" for key in differing)
    keys = " ".join(f"network.{key}={other[key]}".replace(" ", "") for key in differing)
    raise UsageError(
        f"the encoder in {choice.folder} does not fit the pipeline's network",
        f"it has {there}; the pipeline has {here}",
        f"set {keys}",
    )


def _other_looks(own: PreprocessSettings, found: VolumeEncoderCheckpoint) -> list[str]:
    """A warning for each key by which images differ from those of pre-training."""
    trained = found.preprocess
    windowed = "ct_window" in {own.intensity, trained.intensity}
    return [
        f"warning: preprocess.{key} is {getattr(own, key)}, and the encoder was pre-trained with "
        f"{getattr(trained, key)}"
        for key in LOOKS
        if getattr(own, key) != getattr(trained, key) and (key != "window" or windowed)
    ]
