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


MEANING = {
    "top1": "share of windows whose own place in another contrast is found first; 1 is best",
    "top5": "the same among the first five",
    "median_rank": "at which place it is found; 1 is best",
    "gallery": "windows among which it is looked for",
    "distance": "of one place in two contrasts, against that of two places; 0 is best",
    "modality": "accuracy in telling contrasts apart; chance is best for invariant features",
    "place": "accuracy in telling eighths of a volume apart; higher is better",
    "rank": "directions that the features use; near 1 they have collapsed",
    "masked_error": "of filling in what is masked, as a share of guessing the mean; 0 is best",
    "partner_top1": "share of windows whose place in another patient is found first; 1 is best",
    "partner_top5": "the same among the first five",
    "partners": "windows among which it is looked for",
    "moved_mm": "median error of finding places again in the volume moved",
    "moved_same_voxel_mm": "the same without learning: the voxel that it was",
    "centroid_mm": "median error of finding label centroids in another patient",
    "centroid_bounding_box_mm": "the same without learning: by place in the bounding box",
    "centroid_random_mm": "the same by chance",
    "centroid_cut_mm": "as label centroids, where the field of view is cut",
    "centroid_cut_bounding_box_mm": "the same without learning",
    "retrieval": "share of volumes whose other view is found first; 1 is best",
    "order": "likeness of a volume and its reverse; near 1 the order of slices is not seen",
    "deviation": "spread of the features; near 0 they have collapsed",
}
"""What each number says, for the lines after a pre-training."""


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
    """A line for each number of the trained network: what it is, that before training, meaning."""
    before, after = found.get("untrained", {}), found.get("trained", {})
    return [
        f"  {COLUMNS.get(name, name)}: {_shown(name, after[name])}"
        + (
            f" (untrained {_shown(name, before[name])})"
            if before.get(name, after[name]) != after[name]
            else ""
        )
        + f" - {meaning}"
        for name, meaning in MEANING.items()
        if name in after
    ]


def _shown(name: str, value: float) -> str:
    return f"{value:.0f}" if name in ("gallery", "partners") else f"{value:.3f}"


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
