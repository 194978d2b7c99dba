"""Calls by the nearest labelled bags, from end to end."""

from pathlib import Path

from medssl.pipeline.config import load_config
from medssl.pipeline.plan import cohort_of, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.results import read_result
from medssl.pipeline.run import run
from medssl.train.checkpoint import read_weights


def test_every_training_bag_is_kept_once_and_test_bags_are_called(toys: Path) -> None:
    config = load_config("bags", ["method=knn_slides", "method.nearest=1", "train.epochs=2"])
    model = run(config, QuietReporter())["model"]
    kept = [one for name, one in read_weights(model).items() if name.endswith("examples")]
    folds = cohort_of(config).folds
    assert [len(one) for one in kept] == [len(fold.labelled) for fold in folds]
    assert 0 <= read_result(make_plan(config).last.folder).numbers["accuracy"] <= 1
