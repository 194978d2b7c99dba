"""What a run was foretold to take against what it took.

    python -m tests.benchmarks.foretold [STEPS [SET METHOD]]

Data sets planned for a CPU, with 8 labels and a few test cases, in a folder that is thrown away;
the simulated CT is drawn there. Then shipped pipelines of radiographs, bags and slides, which are
as long as they say here. Cases are prepared before, and a run of a single step has loaded
what a run loads, which takes the processor about five seconds whatever the run. Times are those of
the clock on the wall, which other work on the machine lengthens at will, and of the processor,
which it hardly does. Each line is of a process of its own, as the peak of the memory is.
"""

import logging
import os
import resource
import subprocess
import sys
import tempfile
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from medssl.environment import cache_root
from medssl.families.grade import foretell as grade
from medssl.families.segment import foretell as segment
from medssl.families.segment.train import cache_cases, used_cases
from medssl.families.slide import foretell as slide
from medssl.pipeline.config import Config, load_config
from medssl.pipeline.foretold import Foretold, Pace
from medssl.pipeline.init import initialise
from medssl.pipeline.plan import Job, cohort_of, make_plan
from medssl.pipeline.planned import with_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import carry_out
from medssl.registry import load
from tests.benchmarks.simulated_ct import simulate

CT = "simulated_ct"
SETS = {"hippocampus": 24, "lgg_lesions": 8, "left_atrium": 8, "lgg_slices": 24, CT: 8}
"""Test cases of each."""

METHODS = ("supervised", "mean_teacher")
OTHERS = {
    ("knee", "supervised_grading"): "train.steps=500",
    ("knee", "semixup"): "train.steps=500",
    ("mil", "abmil"): "train.epochs=10",
    ("mil", "snuffy"): "train.epochs=10",
    ("planted_keys", "abmil"): "train.epochs=2",
    ("slides", "abmil"): "train.epochs=60",
    ("slides", "snuffy"): "train.epochs=60",
}
"""Shipped pipelines of other families and their methods, with the key that says how long."""
KEYS = ("train={device: cpu}", "evaluate.overlays=0")


def compare(data: str, method: str, steps: int) -> str:
    """One line of the table."""
    if data == CT:
        simulate(Path(CT), 24)
        initialise(Path(CT), QuietReporter(), None, "", False)
    path = Path("pipelines") / f"{data}_{method}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"data: {data}\nplan: auto\nmethod: {method}\n")
    keys = [*KEYS, f"split={{labels: 8, test: {SETS[data]}, validation: 0}}"]
    config = load_config(path.stem, [*keys, f"train.steps={steps}"])
    cohort = cohort_of(config)
    config = with_plan(config, cohort, QuietReporter())
    cache_cases(config, used_cases(cohort.cases, cohort.split), QuietReporter())
    found = segment.foretell(config, cohort, QuietReporter())
    short = load_config(path.stem, [*keys, "train.steps=1"])
    stages(job_of(with_plan(short, cohort, QuietReporter())))
    patch = list(config.pipeline.train.patch)
    return line(f"{data}, {method}, {steps} steps, patch {patch}", found, stages(job_of(config)))


def compare_other(name: str, method: str) -> str:
    """One line of the table, of a shipped pipeline of another family."""
    length = OTHERS[name, method]
    keys = ["train.device=cpu", f"method={method}"]
    short = f"{length.partition('=')[0]}=1"
    config = load_config(name, [*keys, length])
    job = job_of(config)
    found = (grade if config.family.name == "grade" else slide).foretell(job)
    stages(job_of(load_config(name, [*keys, short])))
    return line(f"{name}, {method}, {length}", found, stages(job))


def job_of(config: Config[Any]) -> Job:
    """A run of which all is prepared."""
    job = Job(make_plan(config, cohort_of(config)), QuietReporter())
    _ = job.data
    return job


def line(what: str, found: Foretold, took: dict[str, Pace]) -> str:
    """What was foretold beside what it took."""
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (
        f"{what}: training {against(found.training, took['train'])}; "
        f"{found.results} {found.named} {against(found.prediction, took['predict'])}; "
        f"memory foretold {found.memory / 1e9:.2f} GB, peak {peak / 1e9:.2f} GB "
        f"({found.memory / peak:.2f})"
    )


def stages(job: Job) -> dict[str, Pace]:
    """What training and prediction take."""
    plan, took = job.plan, dict[str, Pace]()
    for name in ("train", "predict"):
        begin = Pace.now()
        work = partial(load(plan.config.family.steps[name].work), job)
        carry_out(plan.stages[name], plan.subject, work, QuietReporter())
        took[name] = Pace.now().since(begin)
    return took


def against(foretold: Pace, took: Pace) -> str:
    """Both clocks, with the share of what it took that was foretold."""
    return " and ".join(
        f"{now:.1f} of {then:.1f} {clock} s ({now / then:.2f})"
        for clock, now, then in zip(("wall", "processor"), foretold, took, strict=True)
    )


def main() -> None:
    """Print the table, or one line of it."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    if len(sys.argv) < 3:
        for name, method in [*product(SETS, METHODS), *OTHERS]:
            one = [sys.executable, "-m", "tests.benchmarks.foretold", str(steps), name, method]
            subprocess.run(one, check=True)
        return
    logging.disable()
    data = os.environ.get("MEDSSL_DATA", "data")
    os.environ["MEDSSL_DATA"] = str(Path(data).resolve())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["MEDSSL_CACHE"] = str(Path(folder) / cache_root().name)
        name, method = sys.argv[2:]
        other = (name, method) in OTHERS
        said = compare_other(name, method) if other else compare(name, method, steps)
        sys.stdout.write(said + "\n")


if __name__ == "__main__":
    main()
