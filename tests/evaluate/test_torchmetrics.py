"""Metrics of torchmetrics that a pipeline names: the list, names and arguments, and the numbers."""

import math

import numpy as np
import pytest
import torch
from torchmetrics import classification

from medssl.errors import UsageError
from medssl.evaluate.classification import score_slides
from medssl.evaluate.further_classes import further_rows
from medssl.evaluate.further_masks import further_metric
from medssl.evaluate.grading import score_grades
from medssl.evaluate.metric import ClassMetric, Metric
from medssl.evaluate.segmentation import case_scores, dice
from medssl.evaluate.settings import EvaluateSettings, listed, must_fit_classes, named
from medssl.evaluate.torchmetrics_list import LIST, list_text
from medssl.families.grade.config import GradeEvaluateSettings
from medssl.families.slide.config import SlideEvaluateSettings
from medssl.registry import Registry

F2 = {"torchmetrics:FBetaScore": {"beta": 2.0}}


def test_the_list_is_that_of_the_installed_torchmetrics():
    """Otherwise: python -m medssl.evaluate.torchmetrics_list."""
    assert LIST.read_text() == list_text()


def test_the_list_holds_what_gives_one_number():
    found = listed("classification")
    assert {"CohenKappa", "MatthewsCorrCoef", "AUROC", "Specificity"} <= set(found)
    assert not {"ROC", "ConfusionMatrix", "StatScores"} & set(found)
    assert found["FBetaScore"]["multiclass"] == {
        "arguments": {
            "beta": "a number",
            "top_k": "a whole number",
            "average": ["micro", "macro", "weighted"],
            "zero_division": "a number",
        },
        "needed": ["beta"],
    }
    # Its Hausdorff distance takes planes only.
    assert set(listed("segmentation")) == {"DiceScore", "GeneralizedDiceScore", "MeanIoU"}


@pytest.mark.parametrize("section", [GradeEvaluateSettings, SlideEvaluateSettings])
def test_settings_keep_what_was_written_and_nothing_where_nothing_was(section):
    chosen = ["torchmetrics:CohenKappa", F2, "torchmetrics:CohenKappa"]
    found = section(metrics=chosen)
    assert found.model_dump(mode="json")["metrics"] == chosen[:2]
    assert section(**found.model_dump()) == found
    assert "metrics" not in section().model_dump(mode="json")
    assert section(metrics=[{"torchmetrics:FBetaScore": {"beta": 2}}, F2]).metrics == (F2,)
    bare = section(metrics=[{"torchmetrics:CohenKappa": {}}])
    assert bare == section(metrics=["torchmetrics:CohenKappa"])


def test_a_key_tells_the_arguments():
    assert named(F2).key == "torchmetrics:FBetaScore beta 2.0"
    assert named("torchmetrics:F1Score").key == "torchmetrics:F1Score"


@pytest.mark.parametrize(
    ("section", "choice", "sentence"),
    [
        (
            GradeEvaluateSettings,
            "torchmetrics:CohenKapa",
            "did you mean 'torchmetrics:CohenKappa'?",
        ),
        (GradeEvaluateSettings, "torchmetrics:", "no metric is called 'torchmetrics:'"),
        (GradeEvaluateSettings, "CohenKappa", "did you mean 'torchmetrics:CohenKappa'?"),
        (GradeEvaluateSettings, "torchmetrics:MeanIoU", "cases are classified"),
        (EvaluateSettings, "torchmetrics:MeanIOU", "did you mean 'torchmetrics:MeanIoU'?"),
        (EvaluateSettings, "torchmetrics:CohenKappa", "masks are scored in 3-D"),
        (
            EvaluateSettings,
            {"torchmetrics:MeanIoU": {"x": 1}},
            "has no argument 'x'; give its name",
        ),
        (EvaluateSettings, {"volume": {"x": 1}}, "'volume' of evaluate.metrics takes no arguments"),
        (EvaluateSettings, {"a": {}, "b": {}}, "which is not one metric"),
        (
            SlideEvaluateSettings,
            {"torchmetrics:CohenKappa": {"weight": "linear"}},
            "has no argument 'weight'; did you mean 'weights'?",
        ),
        (
            SlideEvaluateSettings,
            {"torchmetrics:CohenKappa": {"weights": "cubic"}},
            "has weights='cubic'; give one of linear, quadratic",
        ),
        (
            SlideEvaluateSettings,
            {"torchmetrics:F1Score": {"top_k": 1.5}},
            "has top_k=1.5; give a whole number",
        ),
        (
            SlideEvaluateSettings,
            {"torchmetrics:FBetaScore": {"beta": True}},
            "has beta=True; give a number",
        ),
        (
            SlideEvaluateSettings,
            {"torchmetrics:FBetaScore": {"beta": math.inf}},
            "has beta=inf; give a number",
        ),
        (
            SlideEvaluateSettings,
            {"torchmetrics:HingeLoss": {"squared": 1}},
            "has squared=1; give true or false",
        ),
        (SlideEvaluateSettings, "torchmetrics:FBetaScore", "lacks its argument beta"),
    ],
)
def test_a_wrong_name_or_argument_is_told_with_what_would_be_right(section, choice, sentence):
    with pytest.raises(UsageError) as caught:
        section(metrics=[choice])
    assert sentence in str(caught.value)


def test_what_is_not_of_so_many_classes_is_told():
    must_fit_classes(["torchmetrics:LogAUC"], 2)
    with pytest.raises(UsageError, match="LogAUC, which torchmetrics does not have for several"):
        must_fit_classes(["torchmetrics:LogAUC"], 3)
    average = {"torchmetrics:F1Score": {"average": "macro"}}
    must_fit_classes([average], 3)
    with pytest.raises(UsageError, match=r"F1Score of two classes in .* has no argument 'average'"):
        must_fit_classes([average], 2)


@pytest.fixture
def grades() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 20)
    return generator.dirichlet(np.ones(3), 60) * 0.6 + 0.4 * np.eye(3)[truth], truth


def test_grades_are_scored_by_the_form_for_several_classes(grades):
    probability, truth = grades
    weighted = {"torchmetrics:F1Score": {"average": "weighted"}}
    found = score_grades(
        *grades, 100, np.random.default_rng(0), metrics=["torchmetrics:AUROC", F2, weighted]
    )
    given = torch.from_numpy(probability), torch.from_numpy(truth)
    for key, metric in (
        ("torchmetrics:AUROC", classification.MulticlassAUROC(3)),
        ("torchmetrics:FBetaScore beta 2.0", classification.MulticlassFBetaScore(2.0, 3)),
        (
            "torchmetrics:F1Score average weighted",
            classification.MulticlassF1Score(3, average="weighted"),
        ),
    ):
        score = found.further[key]
        assert score.value == float(metric(*given))
        assert score.low < score.value < score.high
        flat = found.flat()
        assert (flat[key], flat[f"{key}_low"], flat[f"{key}_high"]) == (
            score.value,
            score.low,
            score.high,
        )


def test_other_scores_do_not_change_by_it(grades):
    plain = score_grades(*grades, 100, np.random.default_rng(0)).flat()
    more = score_grades(*grades, 100, np.random.default_rng(0), metrics=[F2]).flat()
    assert plain.items() <= more.items()


def test_calls_are_scored_by_the_classes_that_the_threshold_gave():
    """At 0.3 the third slide is called positive; ranks do not depend on that."""
    probability = np.array([0.1, 0.2, 0.35, 0.8, 0.9, 0.25])
    truth = np.array([0, 0, 0, 1, 1, 1])
    found = score_slides(
        np.stack([1 - probability, probability], axis=1),
        truth,
        100,
        np.random.default_rng(0),
        threshold=0.3,
        metrics=["torchmetrics:Specificity", "torchmetrics:AUROC"],
    ).further
    assert found["torchmetrics:Specificity"].value == pytest.approx(2 / 3)
    assert found["torchmetrics:AUROC"].value == pytest.approx(8 / 9)


def test_a_class_without_cases_gives_no_number():
    probability = np.array([[0.9, 0.1], [0.2, 0.8]])
    found = score_slides(
        probability,
        np.array([0, 0]),
        100,
        np.random.default_rng(0),
        metrics=["torchmetrics:AUROC"],
    )
    (score,) = found.further.values()
    assert math.isnan(score.value)
    assert score.reason == "no slide of class 1"
    assert "torchmetrics:AUROC" not in found.flat()


def test_an_argument_beyond_its_limits_is_told(grades):
    choice = {"torchmetrics:F1Score": {"top_k": 9}}
    with pytest.raises(UsageError, match="the metric torchmetrics:F1Score fails; "):
        score_grades(*grades, 100, np.random.default_rng(0), metrics=[choice])


def test_a_report_says_what_is_better(grades):
    metrics = ["torchmetrics:HammingDistance", F2, "torchmetrics:Specificity"]
    found = score_grades(*grades, 100, np.random.default_rng(0), metrics=metrics)
    rows = further_rows(found.further)
    assert [(title, arrow) for title, _, arrow in rows] == [
        ("HammingDistance", "↓"),
        ("FBetaScore beta 2.0", "↑"),
        ("Specificity", ""),
    ]


def surest(probability, said, truth):
    """The largest probability of a case that is right."""
    return (probability[:, 1] * (said == truth)).max()


@pytest.fixture
def outside(monkeypatch):
    """Metrics of another package: `surest` and `odd` of grades and calls, `ml` of masks."""
    names = {"surest": "SUREST", "odd": "ODD", "ml": "ML"}
    offered = Registry("", "metric", {name: f"{__name__}:{names[name]}" for name in names})
    monkeypatch.setattr("medssl.evaluate.settings.METRICS", offered)


SUREST = ClassMetric("surest", "Surest", surest)
ODD = ClassMetric("odd", "Odd", lambda probability, said, truth: truth[len(truth)])
ML = Metric("ml", "Volume", measure=lambda prediction, truth, mm: 0.0)


def test_calls_are_scored_by_metrics_of_other_packages_too(outside):
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    given = probability, np.array([0, 0, 1, 1]), 100, np.random.default_rng(0)
    choices = SlideEvaluateSettings(metrics=["surest", "torchmetrics:Specificity"]).metrics
    must_fit_classes(choices, 2)
    found = score_slides(*given, metrics=choices).further
    assert list(found) == ["surest", "torchmetrics:Specificity"]
    assert found["surest"].value == 0.6
    (title, _, arrow), _ = further_rows(found)
    assert (title, arrow) == ("Surest", "↑")


@pytest.mark.parametrize(
    ("section", "choice", "sentence"),
    [
        (SlideEvaluateSettings, {"surest": {"x": 1}}, "'surest' .* takes no arguments"),
        (SlideEvaluateSettings, "ml", "'ml' of evaluate.metrics scores masks"),
        (SlideEvaluateSettings, "sures", "no metric is called 'sures'"),
        (EvaluateSettings, "surest", "'surest' of evaluate.metrics scores grades and calls"),
    ],
)
def test_metrics_of_other_packages_are_of_masks_or_of_cases(outside, section, choice, sentence):
    with pytest.raises(UsageError, match=sentence):
        section(metrics=[choice])


def test_a_metric_of_another_package_that_fails_is_told(outside):
    given = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), 100, np.random.default_rng(0)
    with pytest.raises(UsageError, match="the metric odd fails; IndexError: index 2 is out of"):
        score_slides(*given, metrics=["odd"])


def test_masks_are_scored_class_by_class():
    generator = np.random.default_rng(0)
    prediction, truth = generator.integers(3, size=(2, 5, 6, 7)).astype(np.uint8)
    further = [further_metric(f"torchmetrics:{name}") for name in listed("segmentation")]
    assert [metric.title for metric in further] == list(listed("segmentation"))
    classes = ("background", "near", "far")
    found = case_scores(prediction, truth, (1.0, 1.0, 1.0), classes, 1.0, further=further)
    for index, score in enumerate(found, start=1):
        pair = prediction == index, truth == index
        assert score.value("torchmetrics:DiceScore") == pytest.approx(dice(*pair), abs=1e-6)
        assert score.value("torchmetrics:MeanIoU") == pytest.approx(score.jaccard, abs=1e-6)


@pytest.mark.parametrize("name", list(listed("segmentation")))
def test_empty_masks_count_as_everywhere_in_medssl(name):
    metric = further_metric(f"torchmetrics:{name}")
    some, none = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    values = [
        metric.measure(*pair, (1, 1, 1)) for pair in ((none, none), (some, none), (none, some))
    ]
    assert values == [1, 0, 0]
