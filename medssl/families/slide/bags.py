"""The first stage of a pipeline of slides: every case as a bag of features.

Bags that come as features are read. Slides are cut into tiles and encoded once; their features are
kept in the cache, under a key of everything that influences them.
"""

import numpy as np

from medssl.data.bags.bag import Bag
from medssl.data.layouts import layout_of
from medssl.data.layouts.planted import PlantedBag
from medssl.data.slide.annotation import tile_labels
from medssl.data.slide.annotation_files import read_annotation
from medssl.data.slide.bag import FeatureBag, read_features
from medssl.data.spec import Case
from medssl.device import choose_device
from medssl.environment import cache_root
from medssl.families.slide.config import SlideConfig
from medssl.infer.features import extract_features
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.networks.tile_settings import encoder_hash
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import Counted

SlideBag = Bag | FeatureBag | PlantedBag


def find_bags(job: Job) -> dict[str, SlideBag]:
    """Every case as a bag, by id; features of slides that are in the cache are not made again.

    Raises:
        DataError: a file cannot be used; what was encoded before it stays in the cache.
        UsageError: there is no such file of the encoder's weights.
    """
    config: SlideConfig = job.plan.config
    cases, reporter = job.plan.cohort.cases, job.reporter
    bags = layout_of(config.spec).bags(config.spec, cases)
    if bags is not None:
        return {bag.id: bag for bag in bags}
    pipeline = config.pipeline
    encoder = build_tile_encoder(pipeline.encoder, pipeline.seed)
    if encoder.report is not None:
        reporter.note(f"weights {pipeline.encoder.weights}: {encoder.report}")
    key = encoder_hash(pipeline.encoder, pipeline.seed)
    folder = cache_root() / "features" / config.spec.name / f"{pipeline.tiles.key}-{key}"
    reporter.note(f"{len(cases)} slides of {config.spec.name}: encoding what is not in {folder}")
    with Counted(reporter) as counted:
        done = extract_features(
            {case.id: case.images["slide"] for case in cases},
            folder,
            encoder,
            key,
            pipeline.tiles,
            batch=pipeline.predict.batch,
            device=choose_device(pipeline.train.device),
            on_progress=counted,
        )
    for note in done.notes:
        reporter.note(f"note: {note}")
    if done.busy_share is not None:
        reporter.note(
            f"{done.tiles} tiles in {done.seconds:.0f} s; the encoder worked "
            f"{done.busy_share:.0%} of the time"
        )
    return {
        case.id: read_features(done.paths[case.id], case.patient, case.extra["class"], case.id)
        for case in cases
    }


def instance_labels(case: Case, bag: SlideBag) -> np.ndarray | None:
    """[N] bool, which instances show the positive class; None where nobody said."""
    if not isinstance(bag, FeatureBag):
        return bag.instances
    drawn = case.extra["annotation"]
    if drawn is None:
        # A slide without tumour has none anywhere; one with tumour has it somewhere.
        return np.zeros(len(bag.places), bool) if bag.label == 0 else None
    return tile_labels(read_annotation(drawn), bag.places, bag.span)
