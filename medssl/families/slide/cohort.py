"""The cases of a run on slides as bags of features, and what decides its stages."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from medssl.data.bags.bag import Bag
from medssl.data.folds import make_folds
from medssl.data.layouts import find_cases, layout_of
from medssl.data.layouts.planted import PlantedBag
from medssl.data.slide.bag import FeatureBag, read_features
from medssl.device import choose_device
from medssl.environment import cache_root
from medssl.errors import UsageError
from medssl.families.slide.config import SlideConfig
from medssl.infer.features import extract_features
from medssl.networks.monai_tile_settings import MonaiTileSettings
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.networks.tile_settings import encoder_hash
from medssl.networks.trial import must_encode
from medssl.pipeline.plan import Cohort, Job, Plan
from medssl.pipeline.progress import Counted
from medssl.train.distributed import TEAM
from medssl.train.fingerprint import fingerprint
from medssl.train.tile_checkpoint import read_tile_encoder

SlidePlan = Plan[SlideConfig, Cohort]
SlideBag = Bag | FeatureBag | PlantedBag


def find_cohort(config: SlideConfig, kept_out: Collection[str] = ()) -> Cohort:
    """Find and fold the cases of a pipeline.

    Raises:
        DataError: the data set is missing or unusable.
        UsageError: a class has too few patients for the folds, or no case has a class.
    """
    pipeline = config.pipeline
    cases = find_cases(config.spec)
    if all(case.extra.get("class") is None for case in cases):
        raise UsageError(
            f"no case of {config.spec.name} has a class to learn from",
            "its data spec names no table of labels, or the table is empty",
            "add `table: labels.csv` with the columns slide and label to its layout",
        )
    split = pipeline.split
    folds = make_folds(cases, config.classes, split.folds, split.validation, pipeline.seed)
    return Cohort(tuple(cases), tuple(folds))


def inputs(config: SlideConfig, cohort: Cohort) -> dict[str, list[Any]]:
    """The settings, the folds and all files; the scores depend on nothing more."""
    done = ("preprocess",) if config.pipeline.preprocess.steps else ()
    tiles = ("tiles", *done, "encoder") if config.tiled else ()
    settings = ("data", *tiles, "method", "train", "evaluate")
    folds = [split.hash for split in cohort.folds or cohort.splits]
    files, final = fingerprint(cohort.cases), config.pipeline.split.final
    refit = ["refit"] if cohort.folds and final == "refit" else []
    return {
        "train": [config.hash(*settings), config.pipeline.seed, folds, files, *refit],
        "predict": [config.hash("predict")],
        "evaluate": [],
    }


def results(plan: SlidePlan) -> dict[str, Path]:
    """The classifier of all folds, calls and heat maps, their scores and the report."""
    called, scored = plan.folder("predict"), plan.folder("evaluate")
    drawn = plan.config.tiled and plan.config.pipeline.predict.heat_maps
    return {
        "model": plan.folder("train") / "checkpoint",
        "calls": called / "calls.csv",
        **({"maps": called} if drawn else {}),
        **({"scores": scored / "scores.csv"} if plan.cohort.test else {}),
        "report": scored / "report.html",
    }


def find_bags(job: Job) -> dict[str, SlideBag]:
    """Every case as a bag, by id.

    Bags that come as features are read. Slides are cut into tiles and encoded once; their features
    are kept in the cache, under a key of everything that influences them. Each of several processes
    encodes some of the slides.

    Raises:
        DataError: a file cannot be used; what was encoded before it stays in the cache.
        UsageError: there is no such file of the encoder's weights, or `preprocess` makes no tiles.
    """
    config: SlideConfig = job.plan.config
    cases, reporter = job.plan.cohort.cases, job.reporter
    bags = layout_of(config.spec).bags(config.spec, cases)
    if bags is not None:
        return {bag.id: bag for bag in bags}
    pipeline = config.pipeline
    if isinstance(pipeline.encoder, MonaiTileSettings):
        must_encode(pipeline.encoder, [pipeline.encoder.side])
    encoder = build_tile_encoder(pipeline.encoder, pipeline.seed)
    if encoder.report is not None:
        reporter.note(f"weights {pipeline.encoder.weights}: {encoder.report}")
    if pipeline.pretrain is not None:
        trained = read_tile_encoder(pipeline.pretrain.folder).preprocess
        if unlike := pipeline.preprocess.unlike(trained):
            reporter.note(
                f"warning: the encoder was pre-trained on tiles that look otherwise: {unlike}"
            )
    key = encoder_hash(pipeline.encoder, pipeline.seed)
    tiles = pipeline.preprocess.key(pipeline.tiles.key)
    folder = cache_root() / "features" / config.spec.name / f"{tiles}-{key}"
    reporter.note(f"{len(cases)} slides of {config.spec.name}: encoding what is not in {folder}")
    device = choose_device(pipeline.train.device)
    with TEAM.joined(device), Counted(reporter) as counted:
        done = extract_features(
            {case.id: case.images["slide"] for case in TEAM.own(cases)},
            folder,
            encoder,
            key,
            pipeline.tiles,
            pipeline.preprocess,
            batch=pipeline.predict.batch,
            device=device,
            on_progress=counted,
        )
        paths = {name: str(path) for name, path in done.paths.items()}
        parts = TEAM.collected([paths, done.notes])
    for note in [note for _, notes in parts for note in notes]:
        reporter.note(f"note: {note}")
    if done.busy_share is not None:
        reporter.note(
            f"{done.tiles} tiles in {done.seconds:.0f} s; the encoder worked "
            f"{done.busy_share:.0%} of the time"
        )
    files = {name: Path(path) for found, _ in parts for name, path in found.items()}
    return {
        case.id: read_features(files[case.id], case.patient, case.extra["class"], case.id)
        for case in cases
    }
