"""The demo: TraCoCo against supervised training on the same few labels of simulated brains."""

from medssl.environment import runs_root, shown_uri, tracking_uri
from medssl.pipeline.compare import tabulate
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.results import read_result
from medssl.pipeline.run import run

PIPELINE = "brain_cohort"
ARMS = {"supervised": ["method=supervised"], "tracoco": []}


def demo(reporter: QuietReporter) -> str:
    """Run both arms; returns the comparison and where everything lies, as text.

    Raises:
        Stopped: a signal asked for it; the same call continues.
    """
    outcomes = {}
    for number, (name, overrides) in enumerate(ARMS.items(), start=1):
        reporter.note(f"{number} of {len(ARMS)}: {name}")
        outcomes[name] = run(load_config(PIPELINE, overrides), reporter)
    table = tabulate(
        [read_result(done["scores"].parent) for done in outcomes.values()], "supervised"
    )
    best = outcomes["tracoco"]
    budget = load_config(PIPELINE).pipeline.split.labels
    return "\n".join(
        [
            "",
            f"Simulated brains, {budget} labelled cases, the rest unlabelled; test cases:",
            "",
            table,
            "",
            f"masks    {best['masks']}",
            f"report   {best['report']}",
            f"MLflow   {shown_uri(tracking_uri())}",
            f"         look at it: mlflow ui --backend-store-uri {shown_uri(tracking_uri())}",
            f"runs     {runs_root() / PIPELINE}",
        ]
    )
