"""How long a run on slides or bags will take and what memory it needs: told before it starts.

A few steps and a few calls are carried out with fresh networks. Slides have their features by then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from medssl.data.bags.bag import BagBatch, Bags, BagSource, BagStream
from medssl.data.slide.bag import FeatureBag
from medssl.data.split import Split
from medssl.device import choose_device
from medssl.families.slide.cohort import SlidePlan
from medssl.families.slide.config import SlideTrainSettings
from medssl.families.slide.predict import heads, instance_scores, write_maps
from medssl.families.slide.train import FoldTraining, predict_bags, trainings
from medssl.infer.bag_ensemble import BagEnsemble
from medssl.pipeline.foretold import FEWEST, NO_TIME, Foretold, Pace
from medssl.pipeline.plan import Job
from medssl.pipeline.timing import in_words as named
from medssl.pipeline.timing import peak_memory, second_of_two, step_pace, trial

MOST_BAGS = 10
"""Bags that are called to time it; they differ in size."""

BETTER = 1 / 3
"""Share of epochs taken to be the best so far, whose weights are written."""


def in_words(job: Job) -> str:
    """What a run will take, in a sentence; empty where it is next to nothing.

    Raises:
        DataError, UsageError: as `foretell`.
    """
    return "" if sum(_steps(job.plan)) < FEWEST else str(foretell(job))


def foretell(job: Job) -> Foretold:
    """What a run will take, by a few of its bags.

    Raises:
        DataError: a file of features cannot be used.
        UsageError: a step does not fit into the memory.
    """
    plan: SlidePlan = job.plan
    pipeline, splits = plan.config.pipeline, _splits(plan)
    train, device, bags = pipeline.train, choose_device(pipeline.train.device), job.data
    drawn = plan.config.tiled and pipeline.predict.heat_maps
    sizes = {name: _size(bag) for name, bag in bags.items()}
    some = list(bags.values())[:: -(-len(bags) // MOST_BAGS)]
    holds, do = f"{train.batch_bags} bags", "lower train.batch_bags, or cut larger tiles"
    with (
        trial(device, train.threads, train.deterministic, holds, do),
        TemporaryDirectory() as folder,
    ):
        fold = FoldTraining(plan.config, splits[0], bags, Path(folder))
        stream, loop = LargestFirst(fold.stream, sizes), train.loop(len(splits[0].labelled))
        step = step_pace(fold.method, {"bags": stream}, loop, pipeline.seed)
        head = BagEnsemble([fold.predictor()])
        answer = second_of_two(lambda: predict_bags(head, some, device), device)
        save = second_of_two(lambda: fold.save("best", 1, {}), device)
        result = _maps(plan, head, some[0], Path(folder), device) if drawn else NO_TIME
    members = 1 if pipeline.split.final == "refit" else len(trainings(plan))
    final, *held = [len(ids) for _, ids in reversed(list(heads(plan)))]
    times = 2 if drawn else 1
    watched = [
        train.epochs * (len(split.validation) + train.watch_test * len(split.test))
        for split in splits
    ]
    return Foretold(
        step=step,
        steps=_steps(plan),
        answer=answer.times(1 / len(some)),
        validated=sum(watched) + sum(len(split.test) for split in splits),
        predicted=times * (final * members + sum(held)),
        result=result,
        results=final + sum(held),
        named="calls with heat maps" if drawn else "calls",
        memory=peak_memory(device),
        device=named(device),
        save=save,
        saves=sum(_saves(train, split) for split in splits),
    )


def _splits(plan: SlidePlan) -> list[Split]:
    """Of each training: those of the folds, and a last one of all cases."""
    splits = [split for _, split in trainings(plan)]
    again = plan.cohort.folds and plan.config.pipeline.split.final == "refit"
    return [*splits, plan.cohort.split] if again else splits


def _steps(plan: SlidePlan) -> tuple[int, ...]:
    train = plan.config.pipeline.train
    return tuple(train.loop(len(split.labelled)).steps for split in _splits(plan))


def _saves(train: SlideTrainSettings, split: Split) -> int:
    """Of a training: the best weights so far, and the last now and then."""
    better = BETTER if split.validation else 1.0
    return ceil(train.epochs * better) + ceil(train.epochs / train.checkpoint_epochs)


def _maps(
    plan: SlidePlan, head: nn.Module, bag: FeatureBag, folder: Path, device: torch.device
) -> Pace:
    """Of the heat map of a slide, beside the call."""
    found = instance_scores(head, bag, device)
    if found is None:
        return NO_TIME
    slide = next(one for one in plan.cohort.cases if one.id == bag.id).images["slide"]
    files = folder / "map.png", folder / "map.geojson"
    return second_of_two(lambda: write_maps(slide, bag, found, plan.config.classes, *files), device)


@dataclass(frozen=True)
class LargestFirst:
    """Batches of a stream, after one of the largest bags, which need most memory."""

    stream: BagStream
    sizes: Mapping[str, int]

    def batch(self, number: int) -> BagBatch | Bags:
        """Batch `number`, counted from 0; the first one is another."""
        if number:
            return self.stream.batch(number)
        ranked = sorted(self.stream.bags, key=lambda bag: self.sizes[bag.id], reverse=True)
        return replace(self.stream, bags=ranked[: self.stream.size]).batch(0)


def _size(bag: BagSource) -> int:
    """Instances of a bag."""
    return len(bag.places) if isinstance(bag, FeatureBag) else len(bag.features)
