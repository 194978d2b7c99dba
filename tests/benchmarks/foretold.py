"""What a run was foretold to take against what it took.

    python -m tests.benchmarks.foretold [STEPS]

Hippocampus and lgg_lesions, planned for a CPU, with 8 labels and a few test cases, in a folder that
is thrown away. Times are those of the stages' own files, cases being prepared before.
"""

import logging
import os
import resource
import sys
import tempfile
from pathlib import Path

from medssl.environment import cache_root
from medssl.families.segment.foretell import foretell
from medssl.families.segment.train import cache_cases, used_cases
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import cohort_of
from medssl.pipeline.planned import with_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run

SETS = ("hippocampus", "lgg_lesions")
METHODS = ("supervised", "mean_teacher")
KEYS = ("split={labels: 8, test: 8, validation: 0}", "train={device: cpu}", "evaluate.overlays=0")


def seconds(stage: Path) -> float:
    """From the beginning of a stage to its end."""
    return (stage / "done.json").stat().st_mtime - (stage / "config.yaml").stat().st_mtime


def compare(data: str, method: str, steps: int) -> str:
    """One line of the table."""
    path = Path("pipelines") / f"{data}_{method}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"data: {data}\nplan: auto\nmethod: {method}\n")
    config = load_config(path.stem, [*KEYS, f"train.steps={steps}"])
    cohort = cohort_of(config)
    config = with_plan(config, cohort, QuietReporter())
    cache_cases(config, used_cases(cohort.cases, cohort.split), QuietReporter())
    found = foretell(config, cohort, QuietReporter())
    run(config, QuietReporter())
    (trained,) = Path("runs", path.stem).glob("train-*")
    (predicted,) = Path("runs", path.stem).glob("predict-*")
    took, then = seconds(trained), seconds(predicted)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9
    return (
        f"{data}, {method}, {steps} steps, patch {list(config.pipeline.train.patch)}: training "
        f"foretold {found.training_s:.0f} s, took {took:.0f} s ({found.training_s / took:.2f}); "
        f"masks foretold {found.prediction_s:.1f} s, took {then:.1f} s "
        f"({found.prediction_s / then:.2f}); memory foretold {found.memory / 1e9:.2f} GB, "
        f"peak {peak:.2f} GB"
    )


def main() -> None:
    """Print the table."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    logging.disable()
    data = os.environ.get("MEDSSL_DATA", "data")
    os.environ["MEDSSL_DATA"] = str(Path(data).resolve())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["MEDSSL_CACHE"] = str(Path(folder) / cache_root().name)
        for name in SETS:
            for method in METHODS:
                sys.stdout.write(compare(name, method, steps) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
