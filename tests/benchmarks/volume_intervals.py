"""Do volumes lie within their intervals? Asked of scans whose outlines the model never saw.

    MEDSSL_DATA=... python -m tests.benchmarks.volume_intervals PIPELINE [KEY=VALUE ...]

Runs the pipeline with folds and masks for all unlabelled scans, into `runs/` of this folder, and
compares the rows of `volumes.csv` with the outlines that the data set has of these scans. Prints by
structure how many volumes lie within their interval, which should be 95 %, and the median width.
"""

import sys

import numpy as np

from medssl.data.csv_table import read_table
from medssl.data.layouts import find_cases
from medssl.data.volume import read_mask
from medssl.families.segment.cohort import VOLUMES
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run

FOLDS = ("split.folds=5", "predict.unlabelled=true", "evaluate.overlays=0")


def main(pipeline: str, *overrides: str) -> None:
    """Run, compare and print."""
    config = load_config(pipeline, [*FOLDS, *overrides])
    run(config, QuietReporter())
    rows = read_table(make_plan(config).folder("unlabelled") / VOLUMES)
    outlines = {case.id: case.label for case in find_cases(config.spec)}
    inside, ratios = dict[str, list[bool]](), dict[str, list[float]]()
    for row in rows:
        label = outlines[row["case"]]
        if label is None or not row["ml_low"]:
            continue
        mask = read_mask(label)
        outlined = float((mask.array == int(row["value"])).sum()) * mask.geometry.voxel / 1000
        low, high = float(row["ml_low"]), float(row["ml_high"])
        inside.setdefault(row["structure"], []).append(low <= outlined <= high)
        ratios.setdefault(row["structure"], []).append(high / low)
    for structure, found in inside.items():
        print(
            f"{structure}: {sum(found)} of {len(found)} within ({np.mean(found):.1%}), the upper "
            f"end {np.median(ratios[structure]):.2f} times the lower"
        )
    print(f"{sum(not row['ml_low'] for row in rows)} of {len(rows)} rows without an interval")


if __name__ == "__main__":
    main(*sys.argv[1:])
