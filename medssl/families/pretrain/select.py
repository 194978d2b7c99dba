"""Which scans are enough to pre-train on: chosen by how alike a proxy encoder finds them.

Source: Joshi & Mirzasoleiman, ICML 2023 (SAS), as its sheet carries it over to volumes: a session
is a unit, its vector the mean over a few random windows, latent classes are clusters within each
data set.

Legend: n sessions, E features, V windows of a scan.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from medssl.atomic import write_text
from medssl.data.coreset import SELECTORS, likeness, select
from medssl.data.scan.augment import change_intensity
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.sessions import ScanGroup, sessions_of
from medssl.data.scan.settings import AffineSettings, IntensitySettings
from medssl.data.scan.window import cut_sources, draw_window
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import read_mask
from medssl.device import choose_device
from medssl.errors import UsageError
from medssl.families.pretrain.cohort import find_cohort
from medssl.families.pretrain.config import PretrainConfig
from medssl.families.pretrain.volumes import prepare_volumes
from medssl.methods.pretrain.spherical_kmeans import spherical_kmeans
from medssl.mistakes import nearest
from medssl.networks.build import build_encoder
from medssl.networks.pooled import Pooled
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.train.description import weights_hash
from medssl.train.encoder_checkpoint import load_encoder_weights

ROUNDS = 50
"""Updates of the clusters."""


@dataclass(frozen=True)
class Wanted:
    """What is to be chosen, and how.

    Attributes:
        fraction: of the sessions.
        selector: one of `medssl.data.coreset.SELECTORS`.
        windows: of each scan, whose vectors are averaged.
        classes: clusters of each data set.
        allow_loss: choose even where something at hand loses more than half of its share.
    """

    fraction: float
    selector: str = "cut"
    windows: int = 4
    classes: int = 4
    seed: int = 0
    allow_loss: bool = False

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: says what would do.
        """
        if not 0 < self.fraction < 1:
            raise UsageError(
                f"--fraction {self.fraction:g} chooses nothing, or everything",
                do="give a share between 0 and 1, e.g. --fraction 0.6",
            )
        if self.selector not in SELECTORS:
            raise UsageError(
                f"no selector is called {self.selector}", do=nearest(self.selector, [*SELECTORS])
            )
        for name in ("windows", "classes"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} {getattr(self, name)} is none", do="give 1 or more")


@dataclass(frozen=True)
class Unit:
    """A session.

    Attributes:
        id: "data set/case", of its first case.
        data: name of its data set.
        cases: "data set/case" of all its cases.
        traits: what it has, in words: contrasts, and classes that its masks show.
    """

    id: str
    data: str
    cases: tuple[str, ...]
    traits: frozenset[str]


def select_scans(
    pipeline: str,
    overrides: Sequence[str],
    proxy: Path,
    wanted: Wanted,
    out: Path,
    reporter: QuietReporter,
) -> str:
    """The verb: writes which scans of a pipeline that pre-trains are learnt from.

    Args:
        proxy: folder of a pre-trained encoder of volumes.
        out: JSON file for `selected`; it must not exist.

    Returns:
        What was chosen and what it costs, in words.

    Raises:
        UsageError: the settings, the pipeline or the encoder do not allow it, or something at hand
            would lose more than half of its share.
        DataError: a file is missing or damaged.
    """
    wanted.check()
    if out.exists():
        raise UsageError(f"{out} exists", do="give --out another name")
    config = load_config(pipeline, overrides)
    if not isinstance(config, PretrainConfig) or config.slices:
        raise UsageError(
            f"the pipeline {pipeline} does not pre-train on volumes",
            do="name one that does, e.g. with method=masked_image_modelling",
        )
    every = config.pipeline.model_copy(update={"selected": None})
    cohort = find_cohort(PretrainConfig(every, config.method, config.specs), ())
    rows, units = _embedded(config, cohort.train, proxy, wanted, reporter)
    classes = _classes(rows, [unit.data for unit in units], wanted)
    kept = select(rows, classes, wanted.fraction, wanted.selector, wanted.seed)
    shares = _shares(units, kept)
    lost = [name for name, (before, after) in shares.items() if after < before / 2]
    if lost and not wanted.allow_loss:
        before, after = shares[lost[0]]
        raise UsageError(
            f"{lost[0]} would fall from {before:.0%} to {after:.0%} of the scans",
            "what is rare is what this drops",
            "give a larger --fraction, another --selector, or --allow-loss",
        )
    left = [one for one in range(len(units)) if one not in kept]
    told = {
        "selector": wanted.selector,
        "fraction": wanted.fraction,
        "seed": wanted.seed,
        "proxy": weights_hash(proxy),
        "data": sorted({unit.data for unit in units}),
        "kept": [
            {"cases": units[one].cases, "class": int(classes[one]), "score": round(score, 4)}
            for one, score in kept.items()
        ],
        "dropped": _dropped(rows, units, classes, left, sorted(kept)),
        "shares": {name: {"before": a, "after": b} for name, (a, b) in shares.items()},
    }
    write_text(out, json.dumps(told, indent=1))
    lines = [f"{len(kept)} of {len(units)} sessions are kept: {out}"]
    lines += [f"  {name}: {a:.0%} of all, {b:.0%} of those kept" for name, (a, b) in shares.items()]
    return "\n".join([*lines, f"learn from them with selected={out}"])


def _embedded(
    config: PretrainConfig,
    sources: Sequence[tuple[DataSpec, Sequence[Case]]],
    proxy: Path,
    wanted: Wanted,
    reporter: QuietReporter,
) -> tuple[np.ndarray, list[Unit]]:
    """Unit vectors [n, E] and what they are of, sorted by id."""
    weights, found = load_encoder_weights(proxy)
    pipeline = config.pipeline
    if found.network.is_flat != pipeline.network.is_flat:
        flat, box = "2-D images", "volumes"
        raise UsageError(
            f"the encoder in {proxy} encodes {flat if found.network.is_flat else box}",
            f"the pipeline learns from {flat if pipeline.network.is_flat else box}",
            "name an encoder that was pre-trained by this pipeline",
        )
    if unlike := pipeline.preprocess.unlike(found.preprocess):
        raise UsageError(
            f"the encoder in {proxy} was trained on images that look otherwise",
            f"preprocess differs: {unlike}",
            "name an encoder that was pre-trained by this pipeline",
        )
    device = choose_device(pipeline.train.device)
    encoder = build_encoder(found.network, 1, 0)
    encoder.load_state_dict(weights)
    network = Pooled(encoder).to(device).eval()
    patch = pipeline.train.patch if found.patch == (0, 0, 0) else found.patch
    units = {unit.id: unit for spec, cases in sources for unit in _units(spec, cases)}
    groups: dict[str, list[ScanGroup]] = {}
    for group in prepare_volumes(sources, config, reporter).groups:
        groups.setdefault(group.id, []).append(group)
    rows = []
    reporter.note(f"{len(groups)} sessions: {wanted.windows} windows of each scan")
    with Counted(reporter) as counted:
        for number, name in enumerate(sorted(groups)):
            batch = _windows(groups[name], patch, wanted, number)
            rows.append(_vector(network, batch, wanted.seed, number, device))
            counted(number + 1, len(groups))
    return np.stack(rows), [units[name] for name in sorted(groups)]


def _windows(
    groups: Sequence[ScanGroup], patch: tuple[int, int, int], wanted: Wanted, number: int
) -> ScanBatch:
    """Random windows of all scans of a session, [V, 1, 1, *patch]."""
    rng = np.random.default_rng([wanted.seed, number])
    affine = AffineSettings()
    windows = [
        draw_window([group.volume(scan)], (), affine, patch, rng)
        for group in groups
        for scan in range(len(group.scans))
        for _ in range(wanted.windows)
    ]
    source, matrices = cut_sources(windows, patch, "window")
    one = torch.zeros(len(windows), dtype=torch.int64)
    return ScanBatch(source, matrices, patch, one, one[:, None] - 1, ("",) * len(windows))


@torch.inference_mode()
def _vector(
    network: Pooled, batch: ScanBatch, seed: int, number: int, device: torch.device
) -> np.ndarray:
    """The mean of the windows' unit vectors, of unit length: [E] float32."""
    generator = torch.Generator(device).manual_seed(1_000_003 * seed + number)
    image = batch.to(device).windows()[:, 0]
    found = network(change_intensity(image, IntensitySettings(), generator))
    mean: np.ndarray = normalize(normalize(found, dim=1).mean(0), dim=0).cpu().numpy()
    return mean


def _classes(rows: np.ndarray, data: Sequence[str], wanted: Wanted) -> np.ndarray:
    """[n] latent classes: clusters within each data set, so that none of these vanishes."""
    found, first = np.zeros(len(rows), int), 0
    for name in dict.fromkeys(data):
        members = np.flatnonzero(np.array(data) == name)
        own = torch.from_numpy(rows[members])
        start = _apart(rows[members], min(wanted.classes, len(members)), wanted.seed)
        labels, _ = spherical_kmeans(own, torch.from_numpy(start), ROUNDS)
        found[members] = first + labels.numpy()
        first += wanted.classes
    return found


def _apart(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """[count, E] first centroids: each at random, farther ones more likely (k-means++)."""
    rng = np.random.default_rng(seed)
    chosen = [int(rng.integers(len(rows)))]
    while len(chosen) < count:
        distance = np.clip(1 - (rows @ rows[chosen].T).max(1), 0, None) ** 2
        distance[chosen] = 0
        weights = distance if distance.sum() > 0 else np.ones(len(rows))
        chosen.append(int(rng.choice(len(rows), p=weights / weights.sum())))
    return rows[chosen]


def _units(spec: DataSpec, cases: Sequence[Case]) -> list[Unit]:
    found = []
    for together in sessions_of(cases):
        names = tuple(f"{spec.name}/{case.id}" for case in together)
        traits = {f"scans of {spec.name}"}
        traits |= {f"contrast {channel}" for case in together for channel in case.images}
        for case in together:
            if case.label is not None:
                shown = np.unique(read_mask(case.label, spec.labels).array)
                traits |= {f"class {one.name}" for one in spec.labels if one.value in shown}
        found.append(Unit(names[0], spec.name, names, frozenset(traits)))
    return found


def _shares(units: Sequence[Unit], kept: dict[int, float]) -> dict[str, tuple[float, float]]:
    """Of everything at hand: its share of all sessions, and of those kept."""
    before = Counter(trait for unit in units for trait in unit.traits)
    after = Counter(trait for one in kept for trait in units[one].traits)
    return {
        name: (count / len(units), after[name] / len(kept))
        for name, count in sorted(before.items())
    }


def _dropped(
    rows: np.ndarray,
    units: Sequence[Unit],
    classes: np.ndarray,
    left: Sequence[int],
    kept: Sequence[int],
) -> list[dict[str, Any]]:
    """What is left out, with the most similar that is kept, for a person to look at."""
    if not left:
        return []
    alike = likeness(rows)[np.ix_(left, kept)]
    best = alike.argmax(1)
    return [
        {
            "cases": units[one].cases,
            "class": int(classes[one]),
            "nearest": units[kept[near]].id,
            "similarity": round(float(alike[row, near]), 4),
        }
        for row, (one, near) in enumerate(zip(left, best, strict=True))
    ]
