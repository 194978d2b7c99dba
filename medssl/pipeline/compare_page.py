"""The comparison of runs as a page that refers to nothing outside itself."""

import numpy as np

from medssl.data.spec import load_spec
from medssl.errors import UsageError
from medssl.evaluate.figure import png_of
from medssl.evaluate.page import render_page
from medssl.pipeline.compare import Compared
from medssl.train.fingerprint import code_version

MOST = 60
"""Runs that a figure can show."""


def compare_page(title: str, compared: Compared) -> str:
    """The table of `medssl compare`, which sorts by its headings, below a figure of the scores."""
    told = [one for one in compared.headlines if one is not None]
    data = sorted({name for run in compared.runs for name in run.data.split(" + ")})
    return render_page(
        "compare.html.j2",
        {
            "title": f"Runs of {title}",
            "reference": compared.reference,
            "data": data,
            "simulated": any(map(_is_simulated, data)),
            "heads": compared.heads,
            "rows": compared.rows,
            "score": told[0].name if told else "",
            "figure": _figure(compared) if told and len(compared.runs) <= MOST else None,
            "code": f"medssl {code_version()}",
        },
    )


def _is_simulated(name: str) -> bool:
    """Whether a data set is; one whose spec is gone says nothing."""
    try:
        return load_spec(name).simulated
    except UsageError:
        return False


def _figure(compared: Compared) -> bytes:
    """A line for each run, the first on top: its score and its interval."""
    from matplotlib.figure import Figure

    count = len(compared.rows)
    figure = Figure(figsize=(9, 1 + 0.28 * count), dpi=120, layout="constrained")
    axes = figure.subplots()
    methods = list(dict.fromkeys(run.method for run in compared.runs))
    names = []
    for place, (run, line) in enumerate(zip(compared.runs, compared.headlines, strict=True)):
        labels = f", {run.labels} labels" if run.labels else ""
        names.append(f"{compared.rows[place][0]}{labels}, seed {run.seed}")
        if line is None:
            continue
        colour = f"C{methods.index(run.method) % 10}"
        axes.plot(line.value, place, "o", color=colour)
        if line.low is not None and line.high is not None:
            axes.plot([line.low, line.high], [place, place], color=colour)
    axes.set_yticks(np.arange(count), names, fontsize=8)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlabel(f"test {next(one.name for one in compared.headlines if one)}", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", alpha=0.3)
    return png_of(figure)
