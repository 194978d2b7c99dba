"""What frozen features reveal, beside what scans reveal without learning.

Source: sheet of modality-invariant learning, sections 8.2, 10.2 and 10.3.

Legend: N scans, E features, K classes, X Y Z voxels.
"""

import numpy as np

from medssl.evaluate.retrieval import unit

RIDGE = 1.0
"""Penalty of the linear probe, on features of unit variance."""

FOLDS = 5


def linear_probe(features: np.ndarray, target: np.ndarray, patient: np.ndarray) -> float:
    """Accuracy of a ridge classifier on patients it has not seen; NaN with one patient or class.

    Patients are divided into at most five folds.

    Args:
        features: [N, E].
        target: [N], the class of each scan, e.g. its contrast.
        patient: [N].
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    patients = len(np.unique(patient))
    if patients < 2 or len(np.unique(target)) < 2:
        return float("nan")
    folds = GroupKFold(min(FOLDS, patients))
    probe = make_pipeline(StandardScaler(), RidgeClassifier(RIDGE))
    said = cross_val_predict(probe, features, target, groups=patient, cv=folds)
    return float((said == target).mean())


def few_shot_accuracy(
    features: np.ndarray,
    target: np.ndarray,
    patient: np.ndarray,
    shots: int,
    neighbours: int,
    rng: np.random.Generator,
) -> float:
    """Balanced accuracy of k nearest neighbours (cosine) among few scans of other patients.

    Each patient in turn is asked about; `shots` scans per class of the others are known. NaN with
    one patient or class.

    Args:
        features: [N, E]; target, patient: [N].
    """
    from sklearn.metrics import recall_score
    from sklearn.neighbors import KNeighborsClassifier

    if len(np.unique(patient)) < 2 or len(np.unique(target)) < 2:
        return float("nan")
    directions, said = unit(features), np.empty_like(target)
    for one in np.unique(patient):
        others = np.flatnonzero(patient != one)
        classes = [others[target[others] == kind] for kind in np.unique(target[others])]
        known = np.concatenate(
            [rng.choice(rows, min(shots, len(rows)), replace=False) for rows in classes]
        )
        nearest = KNeighborsClassifier(min(neighbours, len(known)), weights="distance")
        nearest.fit(directions[known], target[known])
        said[patient == one] = nearest.predict(directions[patient == one])
    return float(recall_score(target, said, average="macro", zero_division=0.0))


def masked_error(image: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> float:
    """Squared error of the masked voxels as a share of what their mean leaves.

    1 is no better than to predict each scan's mean; 0 is perfect. NaN where they are constant.

    Args:
        image, prediction: [N, X, Y, Z].
        mask: [N, X, Y, Z] bool, true where nothing was seen.
    """
    error = spread = 0.0
    for one, filled, hidden in zip(image, prediction, mask, strict=True):
        truth = one[hidden].astype(np.float64)
        error += float(((filled[hidden] - truth) ** 2).sum())
        spread += float(((truth - truth.mean()) ** 2).sum()) if truth.size else 0.0
    return error / spread if spread > 0 else float("nan")


def intensity_features(image: np.ndarray) -> np.ndarray:
    """Scans [N, X, Y, Z] as vectors of their voxels, [N, voxels], centred.

    The cosine of two of them is the correlation of the scans.
    """
    return _centred(image.astype(np.float32))


def gradient_features(image: np.ndarray) -> np.ndarray:
    """Magnitude of the gradient of scans [N, X, Y, Z], centred, [N, voxels].

    Edges are alike in all contrasts, so this needs no learning: the baseline that a learnt
    retrieval has to beat (section 10.3).
    """
    axes = [axis for axis in (1, 2, 3) if image.shape[axis] > 1]
    squares = [np.gradient(image.astype(np.float32), axis=axis) ** 2 for axis in axes]
    return _centred(np.sqrt(sum(squares)))


def outline_features(image: np.ndarray) -> np.ndarray:
    """Which voxels of scans [N, X, Y, Z] lie above their scan's minimum, centred, [N, voxels]."""
    return _centred((image > image.min((1, 2, 3), keepdims=True)).astype(np.float32))


def _centred(image: np.ndarray) -> np.ndarray:
    flat = image.reshape(len(image), -1)
    return np.asarray(flat - flat.mean(1, keepdims=True))
