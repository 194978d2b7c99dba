"""What probes found, as a table of a report."""

from collections.abc import Mapping, Sequence

import numpy as np

Numbers = Mapping[str, float]

Probed = Mapping[tuple[str, int], Mapping[str, Numbers]]
"""By arm and seed: what probes say of "trained", "untrained" and each baseline."""

COLUMNS = {
    "top1": "top-1",
    "top5": "top-5",
    "median_rank": "median rank",
    "gallery": "gallery",
    "distance": "cross-modal distance",
    "modality": "modality probe",
    "place": "place, few-shot",
    "rank": "effective rank",
    "masked_error": "masked error",
    "partner_top1": "partner, top-1",
    "partner_top5": "partner, top-5",
    "partners": "gallery",
    "moved_mm": "moved volume, mm",
    "moved_same_voxel_mm": "same voxel, mm",
    "centroid_mm": "label centroids, mm",
    "centroid_bounding_box_mm": "bounding box, mm",
    "centroid_random_mm": "random place, mm",
    "centroid_cut_mm": "view cut: label centroids, mm",
    "centroid_cut_bounding_box_mm": "view cut: bounding box, mm",
}
"""What a probe finds, and its heading; columns without a number are left out.

Retrieval is the mean over ordered pairs of contrasts; `place` tells eighths of a volume apart;
`masked_error` is a share of what a mean would leave; a partner is the same place in another
patient; mm are medians."""


def probe_table(rows: Mapping[str, Sequence[Numbers]]) -> list[str]:
    """Lines of the table: a row for each name with numbers, mean over seeds (their deviation)."""
    told = {name for runs in rows.values() for run in runs for name in run}
    columns = {name: heading for name, heading in COLUMNS.items() if name in told}
    lines = [
        "| arm | seeds | " + " | ".join(columns.values()) + " |",
        "|" + "---|" * (len(columns) + 2),
    ]
    for row, runs in rows.items():
        if not any(columns.keys() & run.keys() for run in runs):
            continue
        cells = [row, str(len(runs)), *(_mean_sd(runs, name) for name in columns)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def probe_lines(found: Mapping[str, Numbers]) -> list[str]:
    """A line for each number of the trained network, with that before training if it was other."""
    before, after = found.get("untrained", {}), found.get("trained", {})
    return [
        f"  {COLUMNS[name]}: {value:.3f}"
        + (f" (untrained {before[name]:.3f})" if before.get(name, value) != value else "")
        for name, value in ((name, after[name]) for name in COLUMNS if name in after)
    ]


def named_rows(found: Probed) -> dict[str, list[Numbers]]:
    """Rows of what probes say by arm and seed: "trained" under the arm's name.

    What needs no training, and untrained networks, comes first, once a seed.
    """
    rows: dict[str, dict[int, Numbers]] = {}
    for (arm, seed), numbers in found.items():
        for name, values in numbers.items():
            row = name.replace("trained", arm) if name.startswith("trained") else name
            rows.setdefault(row, {})[seed] = values
    arms = {arm for arm, _ in found}
    order = sorted(rows, key=lambda row: row.split(", ")[0] in arms)
    return {row: list(rows[row].values()) for row in order}


def _mean_sd(runs: Sequence[Numbers], name: str) -> str:
    values = [run[name] for run in runs if name in run]
    return f"{np.mean(values):.3f} ({np.std(values):.3f})" if values else ""
