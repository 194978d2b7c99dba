"""The prediction stage of slides: heat maps of a pipeline's slides, and calls on any slide.

A slide of the pipeline is answered by the fold that did not learn from it, others by the final
model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from medssl.atomic import write_bytes, write_text
from medssl.data.bags.bag import BagSource
from medssl.data.csv_table import table_text
from medssl.data.layouts.slides import is_slide
from medssl.data.slide.annotation_files import read_annotation
from medssl.data.slide.bag import FeatureBag
from medssl.data.slide.reader import open_slide
from medssl.device import choose_device
from medssl.environment import cache_root
from medssl.errors import UsageError
from medssl.export.geojson import write_tiles
from medssl.export.heat_map import draw_heat_map
from medssl.families.slide.cohort import SlidePlan
from medssl.families.slide.train import predict_bags, trainings
from medssl.infer.features import extract_features, read_features
from medssl.pipeline.inputs import files_by_name
from medssl.pipeline.outputs import Outputs, fingerprint_of, refuse_inputs
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import Counted, QuietReporter, Steps
from medssl.section import digest
from medssl.train.description import weights_hash
from medssl.train.distributed import TEAM
from medssl.train.slide_checkpoint import SlideCheckpoint, load_slide_checkpoint
from medssl.train.track import Tracker

CALLS, HEADS = "calls.csv", ("slide", "prediction", "threshold")

THUMBNAIL = 1200
"""Longer side of a heat map's slide, pixels."""


@dataclass(frozen=True)
class InstanceScores:
    """Scores of one bag's instances, higher for the classes that are not the negative one.

    Attributes:
        kind: "probability" of the instance, or "attention" where a method gives no probability.
        values: [N] in [0, 1]; attention is divided by its largest value.
    """

    kind: str
    values: np.ndarray


@torch.no_grad()
def instance_scores(head: nn.Module, bag: BagSource, device: torch.device) -> InstanceScores | None:
    """Scores of every instance of a bag; None where the method says nothing of instances."""
    features = torch.from_numpy(np.asarray(bag.features, np.float32)).to(device)
    found = head.eval()(features)
    if found.instances is not None:
        positive = found.instances[:, 1:].amax(1)
        return InstanceScores("probability", positive.float().cpu().numpy())
    if found.attention is not None:
        attention = found.attention.float().cpu().numpy()
        return InstanceScores("attention", attention / max(float(attention.max()), 1e-12))
    return None


def predict_in_words(
    checkpoint: Path,
    files: Sequence[Path],
    out: Path,
    overrides: Sequence[str],
    reporter: QuietReporter,
    device: str,
    overwrite: bool,
) -> str:
    """As `predict_slides`; returns where the calls are.

    Raises:
        UsageError: as there, and for any override.
    """
    if overrides:
        raise UsageError(f"{overrides[0]} does nothing for slides", do="leave it out")
    return f"calls    {predict_slides(checkpoint, files, out, reporter, device, overwrite)}"


def predict(job: Job, tracker: Tracker) -> dict[str, Any]:
    """calls.csv of every case that no fold, or not all, learnt from; of slides, also heat maps.

    Where nothing is held out, of all cases.
    """
    plan: SlidePlan = job.plan
    config, folder, bags = plan.config, plan.folder("predict"), job.data
    device = choose_device(config.pipeline.train.device)
    cases = {case.id: case for case in plan.cohort.cases}
    drawn = config.tiled and config.pipeline.predict.heat_maps
    asked = [(checkpoint, ids) for checkpoint, ids in heads(plan) if ids]
    rows, own = list[list[Any]](), sum(len(TEAM.own(ids)) for _, ids in asked)
    with TEAM.joined(device), Steps(job.reporter, own) as steps:
        for checkpoint, ids in asked:
            classifier, described = load_slide_checkpoint(checkpoint)
            head = classifier.head.to(device)

            def answer(
                name: str, head: nn.Module = head, described: SlideCheckpoint = described
            ) -> list[Any]:
                if drawn and (found := instance_scores(head, bags[name], device)) is not None:
                    outlines = cases[name].extra["annotation"]
                    write_maps(
                        cases[name].images["slide"],
                        bags[name],
                        found,
                        config.classes,
                        folder / f"{name}.png",
                        folder / f"{name}.geojson",
                        read_annotation(outlines).outlines if outlines else (),
                    )
                steps.advance()
                (row,) = _rows(head, [bags[name]], described, device)
                return row

            rows += TEAM.spread(answer, ids)
    if TEAM.leads:
        write_text(folder / CALLS, table_text([*HEADS, *config.classes], rows))
        tracker.artifact(folder / CALLS)
    return {}


def heads(plan: SlidePlan) -> Iterator[tuple[Path, Sequence[str]]]:
    """Checkpoints, and the cases each of them answers for."""
    cohort = plan.cohort
    for folder, split in trainings(plan):
        yield folder / "checkpoint" / "best", split.test
    yield plan.model, cohort.split.unlabelled if cohort.test else [one.id for one in cohort.cases]


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
    names = {name: [f"{name}.png", f"{name}.geojson"] for name in slides}
    outputs = _begun(checkpoint, slides, names, out, overwrite)
    key = digest([found.split_hash, found.encoder.model_dump(mode="json")])
    features, head = cache_root() / "features" / f"checkpoint-{key}", classifier.head.to(device)

    def answer(name: str) -> list[Any]:
        bag = read_features(done.paths[name])
        scores = instance_scores(head, bag, device)
        if scores is not None:
            with outputs.writing(names[bag.id]) as (picture, tiles):
                write_maps(slides[bag.id], bag, scores, found.classes, picture, tiles)
        (row,) = _rows(head, [bag], found, device)
        return row

    with TEAM.joined(device):
        with Counted(reporter) as counted:
            done = extract_features(
                {name: slides[name] for name in TEAM.own(list(slides))},
                features,
                classifier.encoder,
                key,
                found.tiles,
                found.preprocess,
                device=device,
                on_progress=counted,
            )
        notes = TEAM.collected(done.notes)
        try:
            rows = TEAM.spread(answer, list(slides))
        finally:
            outputs.end()
    for note in [note for some in notes for note in some]:
        reporter.note(f"note: {note}")
    if TEAM.leads:
        with outputs.writing([CALLS]) as (path,):
            write_text(path, table_text([*HEADS, *found.classes], rows))
        outputs.end()
    return out / CALLS


def _begun(
    checkpoint: Path,
    slides: Mapping[str, Path],
    names: Mapping[str, Sequence[str]],
    out: Path,
    overwrite: bool,
) -> Outputs:
    """What the folder is to hold: the calls, and the `names` of the maps of each slide."""
    made = {"weights": weights_hash(checkpoint)}
    sources = {name: fingerprint_of([path]) for name, path in slides.items()}
    with TEAM.first():
        outputs = Outputs(out, made, sources, {"": [CALLS], **names}, overwrite, whole=True)
        outputs.begin()  # a folder that cannot be written to is said before the work
    return outputs


def _rows(
    head: nn.Module, bags: Sequence[BagSource], found: SlideCheckpoint, device: torch.device
) -> list[list[Any]]:
    """A row for each bag: its name, its class, the threshold and the probabilities."""
    rows: list[list[Any]] = []
    for name, probability in predict_bags(head, bags, device).items():
        chosen = int(np.argmax(probability))
        if len(found.classes) == 2:
            chosen = int(probability[1] >= found.threshold)
        shown = [f"{value:.6f}" for value in probability]
        rows.append([name, found.classes[chosen], f"{found.threshold:.6f}", *shown])
    return rows
