import numpy as np
import pytest

from medssl.data.labels import Label
from medssl.data.layout_choice import LayoutChoice
from medssl.data.spec import DataSpec
from medssl.evaluate.report import Origin, Picture, Report, render, write_report
from medssl.evaluate.settings import EvaluateSettings
from medssl.evaluate.summary import summarise
from tests.evaluate.page import Page


@pytest.fixture
def report(scored):
    """A report on three cases, one of them without its second structure; parts can be replaced."""

    def make(cases=None, simulated=False, **more) -> Report:
        cases = cases or [scored("fine"), scored("shifted", 1), scored("lost", 1, without=2)]
        spec = DataSpec(
            name="bars",
            title="Two bars",
            modality="MR",
            channels=("t1",),
            labels=(Label(value=1, name="near"), Label(value=2, name="far")),
            root="bars",
            layout=LayoutChoice(kind="glob"),
            licence="CC0",
            citation="Nobody & Sons <2026>",
            simulated=simulated,
        )
        summary = summarise(cases, 100, np.random.default_rng(0))
        return Report("Bars", spec, EvaluateSettings(), summary, cases, **more)

    return make


ORIGIN = Origin(
    label="cps, 4 labels, seed 0",
    method="cps",
    paper="Chen 2021",
    checkpoint="last",
    roles={"labelled": 3, "validation": 1, "test": 3},
    split_hash="abc123",
    code="0.1.0",
    config="name: <bars>\nseed: 0\n",
    curves=b"\x89PNG",
)


def test_means_stand_with_their_interval_and_counts(report):
    content = report()
    page = Page(render(content))
    mean = content.summary.overall.means["dice"]
    assert f"{mean.mean:.3f} {mean.low:.3f} to {mean.high:.3f}" in page.text
    assert "near 3 0 0 0" in page.text  # n, missed, false alarms, absent
    assert "far 3 1 0 0" in page.text
    assert "mean of classes 3 1 0 0" in page.text


def test_every_case_is_listed_worst_first(report):
    text = Page(render(report())).text
    table = text[text.index("Every case") :]
    assert table.index("lost") < table.index("shifted") < table.index("fine")
    assert "far missed 0.000" in table


def test_masks_of_pictures_have_areas(report):
    """Their volumes count as 1 mm thick: 1 ml is 1000 mm2, or 1000 pixels of unknown size."""
    first = report().cases[0]
    ml = first.classes[0].truth_ml
    assert f"{ml:.2f} ml" in Page(render(report())).text
    text = Page(render(report(units={first.case: "mm2"}))).text
    assert f"{1000 * ml:.4g} mm²" in text
    assert f"{1000 * ml:.0f} pixels" in Page(render(report(units={first.case: "pixels"}))).text


def test_simulated_data_say_so_and_real_data_do_not(report):
    assert "Simulated data" in Page(render(report(simulated=True))).text
    assert "imulated" not in Page(render(report())).text


def test_few_cases_are_called_few(report, scored):
    assert "too narrow" in Page(render(report())).text
    many = [scored(f"c{index}", index % 2) for index in range(20)]
    assert "too narrow" not in Page(render(report(many))).text


def test_one_case_has_no_interval(report, scored):
    text = Page(render(report([scored("alone", 1)]))).text
    assert "no interval" in text
    assert "nan" not in text


def test_cases_without_a_mask_are_owned_up_to(report):
    assert "none left out" in Page(render(report())).text
    text = Page(render(report(without_mask=2))).text
    assert "2 cases without a mask, not scored" in text
    assert "none left out" not in text


def test_the_page_needs_nothing_outside_itself(report):
    pictures = [Picture("best", "fine", b"\x89PNG"), Picture("worst", "lost", b"\x89PNG")]
    links = Page(render(report(pictures=pictures, origin=ORIGIN))).links
    assert len(links) == 3
    assert all(link.startswith("data:image/png;base64,") for link in links)


def test_the_run_is_described(report):
    text = Page(render(report(origin=ORIGIN))).text
    for part in ("cps, 4 labels, seed 0", "Chen 2021", "3 labelled, 1 validation, 3 test"):
        assert part in text
    assert "abc123" in text
    assert "name: <bars>" in text  # escaped in the source, as written on the page


def test_names_cannot_break_the_page(report, scored):
    html = render(report([scored("<b>bold</b>"), scored("plain", 1)]))
    assert "<b>bold" not in html
    assert "Nobody & Sons <2026>" in Page(html).text


def test_the_file_holds_the_page_and_nothing_lies_beside_it(report, tmp_path):
    content = report()
    write_report(tmp_path / "report.html", content)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(content)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
