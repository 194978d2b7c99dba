"""The prediction stage of slides: heat maps of a pipeline's slides, and calls on any slide.

A slide of the pipeline is answered by the fold that did not learn from it, others by all folds.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from medssl.atomic import write_bytes, write_text
from medssl.data.layouts.slides import is_slide
from medssl.data.rows import table_text
from medssl.data.slide.annotation_files import read_annotation
from medssl.data.slide.bag import FeatureBag
from medssl.data.slide.reader import open_slide
from medssl.device import choose_device
from medssl.environment import cache_root
from medssl.errors import UsageError
from medssl.export.geojson import write_tiles
from medssl.export.heat_map import draw_heat_map
from medssl.infer.features import extract_features, read_features
from medssl.pipeline.config import digest
from medssl.pipeline.inputs import files_by_name
from medssl.pipeline.outputs import Outputs, fingerprint_of, refuse_inputs
from medssl.pipeline.progress import Counted, QuietReporter, Steps
from medssl.pipeline.slides.bags import SlideBag
from medssl.pipeline.slides.fold import predict_bags
from medssl.pipeline.slides.instances import InstanceScores, instance_scores
from medssl.pipeline.slides.plan import SlidePlan
from medssl.pipeline.slides.train import fold_folder
from medssl.pipeline.stage import carry_out
from medssl.train.description import weights_hash
from medssl.train.slide_checkpoint import SlideCheckpoint, load_slide_checkpoint
from medssl.train.track import Tracker

CALLS = "calls.csv"

THUMBNAIL = 1200
"""Longer side of a heat map's slide, pixels."""


def predict_stage(
    plan: SlidePlan, bags: Mapping[str, SlideBag], reporter: QuietReporter, resume: bool = True
) -> Path:
    """SLIDE.geojson and SLIDE.png of every slide that no fold, or not all, learnt from.

    Where nothing is held out, of all slides.
    """
    stage, config = plan.predict, plan.config

    def work(_: Tracker) -> dict[str, Any]:
        device = choose_device(config.pipeline.train.device)
        cases = {case.id: case for case in plan.cases}
        asked = [(folder, ids) for folder, ids in _heads(plan) if ids]
        with Steps(reporter, sum(len(ids) for _, ids in asked)) as steps:
            for folder, ids in asked:
                head = load_slide_checkpoint(folder)[0].head.to(device)
                for slide in ids:
                    bag = bags[slide]
                    found = instance_scores(head, bag, device)
                    if found is not None and isinstance(bag, FeatureBag):
                        drawn = cases[slide].extra["annotation"]
                        outlines = read_annotation(drawn).outlines if drawn else ()
                        file = cases[slide].images["slide"]
                        picture, tiles = (
                            stage.folder / f"{slide}{ending}" for ending in (".png", ".geojson")
                        )
                        write_maps(file, bag, found, config.classes, picture, tiles, outlines)
                    steps.advance()
        return {}

    carry_out(stage, plan.subject, work, reporter, parent=plan.whole, resume=resume)
    return stage.folder


def _heads(plan: SlidePlan) -> Iterator[tuple[Path, Sequence[str]]]:
    """Checkpoints, and the slides each of them answers for."""
    for number, split in enumerate(plan.folds):
        yield fold_folder(plan, number) / "checkpoint" / "best", split.test
    whole = plan.train.folder / "checkpoint"
    yield whole, plan.folds[0].unlabelled if plan.tested else [case.id for case in plan.cases]


def write_maps(
    slide: Path,
    bag: FeatureBag,
    scores: InstanceScores,
    classes: Sequence[str],
    picture: Path,
    tiles: Path,
    outlines: Sequence[np.ndarray] = (),
) -> None:
    """A PNG, lesions outlined where they are known, and GeoJSON for QuPath."""
    values = scores.values.astype(np.float64)
    shares = np.stack([1 - values, values], axis=1)
    names = (classes[0], " or ".join(classes[1:]))
    predicted = (values >= 0.5).astype(np.int64)
    write_tiles(tiles, bag.places, bag.span, shares, names, predicted)
    with open_slide(slide) as reader:
        thumbnail = reader.thumbnail(THUMBNAIL)
    label = f"{scores.kind} of {names[1]}"
    png = draw_heat_map(thumbnail, bag.slide_size, bag.places, bag.span, values, label, outlines)
    write_bytes(picture, png)


def predict_slides(
    checkpoint: Path,
    files: Sequence[Path],
    out: Path,
    reporter: QuietReporter,
    device_name: str = "auto",
    overwrite: bool = False,
) -> Path:
    """Calls and heat maps of slides that need no pipeline and no data spec; returns the CSV.

    Args:
        overwrite: replace other calls and maps in `out`.

    Raises:
        UsageError: the checkpoint was trained on bags of features and cannot read slides, two
            slides have one name, or `out` holds inputs or other results.
        DataError: a file is missing, no slide or damaged.
    """
    device = choose_device(device_name)
    classifier, found = load_slide_checkpoint(checkpoint)
    if found.encoder is None or found.tiles is None or classifier.encoder is None:
        raise UsageError(
            f"{checkpoint} cannot read slides",
            "it was trained on bags of features, and does not know how they were made",
            "train a pipeline whose data set has the layout 'slides'",
        )
    slides = files_by_name(
        files, is_slide, lambda path: path.stem, "slide", "an SVS or a tiled TIFF"
    )
    refuse_inputs(out, files)
    sources = {name: fingerprint_of([path]) for name, path in slides.items()}
    names = {name: [f"{name}.png", f"{name}.geojson"] for name in slides}
    made = {"weights": weights_hash(checkpoint)}
    outputs = Outputs(out, made, sources, {"": [CALLS], **names}, overwrite, whole=True)
    outputs.begin()  # a folder that cannot be written to is said before the work
    key = digest([found.split_hash, found.encoder.model_dump(mode="json")])
    with Counted(reporter) as counted:
        done = extract_features(
            slides,
            cache_root() / "features" / f"checkpoint-{key}",
            classifier.encoder,
            key,
            found.tiles,
            device=device,
            on_progress=counted,
        )
    for note in done.notes:
        reporter.note(f"note: {note}")
    head = classifier.head.to(device)
    bags = [read_features(done.paths[name]) for name in slides]
    for bag in bags:
        scores = instance_scores(head, bag, device)
        if scores is not None:
            with outputs.writing(names[bag.id]) as (picture, tiles):
                write_maps(slides[bag.id], bag, scores, found.classes, picture, tiles)
    with outputs.writing([CALLS]) as (path,):
        write_text(path, _calls(head, bags, found, device))
    return out / CALLS


def _calls(
    head: nn.Module, bags: Sequence[FeatureBag], found: SlideCheckpoint, device: torch.device
) -> str:
    rows = []
    for name, probability in predict_bags(head, bags, device).items():
        chosen = int(np.argmax(probability))
        if len(found.classes) == 2:
            chosen = int(probability[1] >= found.threshold)
        shown = [f"{value:.6f}" for value in probability]
        rows.append([name, found.classes[chosen], f"{found.threshold:.6f}", *shown])
    return table_text(["slide", "prediction", "threshold", *found.classes], rows)
