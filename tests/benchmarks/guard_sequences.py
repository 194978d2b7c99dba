"""Does contrast tell sequences apart where a handful of scans is known? Of brains, one patient out.

    MEDSSL_DATA=... python -m tests.benchmarks.guard_sequences

Of the sessions of ms_lesions those of all patients but one are known in one sequence; the sessions
of that patient are judged in every sequence, by the guard's contrast alone, without a network.
Prints the AUROC of each sequence against the known one, and the share beyond all that is known.
"""

import numpy as np
from sklearn.metrics import roc_auc_score

from medssl.data.volume import read_volume
from medssl.environment import data_root
from medssl.infer.contrast import contrast
from medssl.infer.guard import FINE, Spread

SEQUENCES = ("t1", "flair", "t2", "t1c")


def numbers() -> dict[tuple[str, str], np.ndarray]:
    """Contrast by session and sequence."""
    found = {}
    for folder in sorted((data_root() / "ms_lesions").glob("*_*/")):
        for name in SEQUENCES:
            if (folder / f"{name}.nii.gz").is_file():
                scan = read_volume(folder / f"{name}.nii.gz").array
                found[folder.name, name] = contrast(scan, (1, 1, 1))
    return found


def judged(
    seen: dict[tuple[str, str], np.ndarray], own: str
) -> dict[str, list[tuple[float, bool]]]:
    """By sequence, of each session its score and whether it is beyond all known ones of `own`."""
    patients = {session.split("_study")[0] for session, _ in seen}
    found: dict[str, list[tuple[float, bool]]] = {name: [] for name in SEQUENCES}
    for patient in sorted(patients):
        known = np.stack([one for (session, name), one in seen.items()
                          if name == own and session.split("_study")[0] != patient])  # fmt: skip
        spread, among = Spread.of(known, np.full(known.shape[1], FINE))
        for (session, name), one in seen.items():
            if session.split("_study")[0] == patient:
                score = spread.score(one)
                found[name].append((score, score > among.max()))
    return found


def main() -> None:
    """Print a table: a row for each sequence that is known."""
    print(f"| known | {' | '.join(SEQUENCES)} |\n|{'---|' * (1 + len(SEQUENCES))}")
    seen = numbers()
    for own in SEQUENCES[:3]:
        found, cells = judged(seen, own), []
        for name in SEQUENCES:
            scores = [score for score, _ in (*found[own], *found[name])]
            truth = [0] * len(found[own]) + [1] * len(found[name])
            share = np.mean([beyond for _, beyond in found[name]])
            cells.append(f"{roc_auc_score(truth, scores):.3f}, {share:.0%} of {len(found[name])}")
        print(f"| {own} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
