"""The section `split` of a pipeline: who trains, validates and tests."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from medssl.section import Count, Items, Section, Seed


def _several(folds: int) -> int:
    """Refuse one fold, which would leave nothing to learn from."""
    if folds == 1:
        raise ValueError("one fold leaves nothing to learn from; set 2 or more, or 0 for none")
    return folds


FoldCount = Annotated[Count, Field(ge=0), AfterValidator(_several)]

FinalModel = Annotated[
    Literal["refit", "ensemble"],
    Field(
        description="the model after a cross-validation; refit: trained once more, on all that is "
        "labelled; ensemble: the mean of the folds"
    ),
]


class SplitSettings(Section):
    """Who trains, validates and tests; patients are never divided."""

    labels: Items | None = Field(
        default=None,
        ge=1,
        description="labelled cases, validation included; null: all that are left",
    )
    validation: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="share of the labelled cases kept for validation; null: a quarter where "
        "predict.checkpoint=best chooses by them, else none",
    )
    folds: FoldCount = Field(
        default=0,
        description="of a cross-validation over the labelled cases, which the model is then "
        "trained on; patients stay whole, classes are spread over the folds, and each patient is "
        "left out once where they are fewer; 0: none",
    )
    final: FinalModel = "refit"
    test: Items = Field(
        default=0,
        ge=0,
        description="test cases, where the data set declares none; without any, and without folds, "
        "nothing is scored",
    )
    order: Literal["shuffled", "listed"] = Field(
        default="shuffled",
        description="listed: the labelled cases are the first of the data set's own list",
    )
    test_seed: Seed | None = Field(
        default=0,
        ge=0,
        description="seed of the test draw; null: the run's own, so test cases change",
    )
    rehearsal: Items = Field(
        default=0,
        ge=0,
        description="so many labelled training cases are scored in place of the test cases, which "
        "nothing sees: settings are chosen so; 0: none",
    )
    unlabelled: Items | None = Field(
        default=None, ge=0, description="at most so many unlabelled cases"
    )
