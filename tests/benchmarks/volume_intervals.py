"""Do volumes lie within their intervals? Asked of scans whose outlines the model never saw.

    MEDSSL_DATA=... python -m tests.benchmarks.volume_intervals PIPELINE [KEY=VALUE ...]

Runs the pipeline, of one channel, with five folds, in `runs/` of the present folder, and predicts
every scan of the data set whose outline was not learnt from. Prints by structure how many outlined
volumes lie within the interval of the predicted one, which should be 95 %, and its median width.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from medssl.data.csv_table import read_table
from medssl.data.layouts import find_cases
from medssl.data.volume import read_mask
from medssl.families.segment.model import open_model
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import cohort_of
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run

FOLDS = ("split.folds=5", "evaluate.overlays=0")


def main(pipeline: str, *overrides: str) -> None:
    """Run, predict, compare and print."""
    config = load_config(pipeline, [*FOLDS, *overrides])
    model = open_model(run(config, QuietReporter())["model"], [])
    learnt = set(cohort_of(config).split.labelled)
    cases = [case for case in find_cases(config.spec) if case.label and case.id not in learnt]
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder) / "volumes.csv", Path(folder) / "masks"
        images = [next(iter(case.images.values())) for case in cases]
        model.predict(images, out, QuietReporter(), statistics=table)
        rows = read_table(table)
    outlines = {case.id: read_mask(case.label) for case in cases if case.label}
    inside, ratios = dict[str, list[bool]](), dict[str, list[float]]()
    for row in rows:
        if row["ml_low"]:
            mask = outlines[row["case"]]
            ml = float((mask.array == int(row["value"])).sum()) * mask.geometry.voxel / 1000
            low, high = float(row["ml_low"]), float(row["ml_high"])
            inside.setdefault(row["structure"], []).append(low <= ml <= high)
            ratios.setdefault(row["structure"], []).append(high / low)
    for structure, found in inside.items():
        print(
            f"{structure}: {sum(found)} of {len(found)} within ({np.mean(found):.1%}), the upper "
            f"end {np.median(ratios[structure]):.2f} times the lower"
        )
    print(f"{sum(not row['ml_low'] for row in rows)} of {len(rows)} rows without an interval")


if __name__ == "__main__":
    main(*sys.argv[1:])
