"""Slides to bags: tiles are read by threads while an encoder turns earlier ones into features.

Legend: N tiles of a slide, B tiles of a batch, S pixels of a tile's side, E features.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from medssl.data.slide.bag import (
    FeatureBag,
    FeatureHeader,
    is_whole,
    read_features,
    read_header,
    write_features,
)
from medssl.data.slide.reader import SlideReader, open_slide, slide_digest
from medssl.data.slide.sample import no_tissue
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import TileGrid, read_tile, tile_grid
from medssl.errors import DataError
from medssl.transforms.tile_chain import AS_SCANNED, Prepare, TilePreprocess

__all__ = ["Extraction", "FeatureBag", "extract_features", "read_features"]

logger = logging.getLogger(__name__)

_AHEAD = 4  # batches that are read or wait to be encoded


@dataclass(frozen=True)
class Extraction:
    """The outcome of extracting features.

    Attributes:
        paths: file of each slide, also of those that were there already.
        skipped: ids of the slides that were there already.
        tiles: tiles encoded now.
        seconds: wall time.
        busy_share: share of that time in which the encoder worked, transfers included; None where
            it had nothing to do.
        notes: what was assumed of slides, a sentence each.
    """

    paths: dict[str, Path]
    skipped: tuple[str, ...]
    tiles: int
    seconds: float
    busy_share: float | None
    notes: tuple[str, ...]


def extract_features(
    slides: Mapping[str, Path],
    folder: Path,
    encoder: nn.Module,
    encoder_key: str,
    settings: TileSettings,
    chain: TilePreprocess = AS_SCANNED,
    *,
    batch: int = 32,
    workers: int = 2,
    device: torch.device | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Write `folder/ID.safetensors` for each slide; a file with the same key is left as it is.

    At most a few batches of tiles, and the features of one slide, are in memory at once, whatever
    the slides' size. Each file appears complete, so that work goes on where it stopped.

    Args:
        slides: file of each slide by its id.
        folder: where the files go.
        encoder: maps images [B, 3, S, S] float32 in [0, 1] to [B, E]; is moved to `device` and put
            into evaluation mode.
        encoder_key: names the encoder with its weights; features of another key are made anew.
        settings: how slides are cut.
        chain: what is done to a tile before it is encoded.
        batch: tiles of a batch.
        workers: threads that read tiles.
        device: of the encoder; by default the CPU.
        on_progress: called with the numbers of slides done and in all.

    Raises:
        DataError: a slide is missing, damaged or without tissue, or a feature does not fit float16;
            the files of the slides before it stay.
        UsageError: a transform of the chain fails, or makes no tile.
    """
    start = perf_counter()
    device = device or torch.device("cpu")
    encoder.to(device).eval()
    made = chain.key(settings.key), chain.preparation(settings.mpp)
    jobs = [_Job(name, path, folder, encoder_key, settings, *made) for name, path in slides.items()]
    skipped = tuple(job.name for job in jobs if job.done())
    waiting = [job for job in jobs if job.name not in skipped]
    done, tiles, busy = len(skipped), 0, 0.0
    notes: list[str] = []
    if on_progress is not None and skipped:
        on_progress(done, len(jobs))
    with _Feed(waiting, batch, workers) as feed:
        found: list[np.ndarray] = []
        for part in feed:
            pixels = part.pixels()
            began = perf_counter()
            found.append(_encode(encoder, pixels, device))
            busy += perf_counter() - began
            tiles += len(pixels)
            if part.last:
                part.plan.finish(np.concatenate(found))
                feed.close(part.plan)
                notes += part.plan.grid.notes
                found, done = [], done + 1
                if on_progress is not None:
                    on_progress(done, len(jobs))
    seconds = perf_counter() - start
    share = busy / seconds if tiles else None
    paths = {job.name: job.target for job in jobs}
    return Extraction(paths, skipped, tiles, seconds, share, tuple(notes))


@dataclass(frozen=True)
class _Job:
    """A slide to extract features from."""

    name: str
    path: Path
    folder: Path
    encoder: str
    settings: TileSettings
    tiles: str
    prepare: Prepare

    @property
    def target(self) -> Path:
        return self.folder / f"{self.name}.safetensors"

    def done(self) -> bool:
        """Whether the file is there and was made from the same slide in the same way."""
        if not self.path.exists():
            raise DataError(f"there is no slide {self.path}", do="check the path")
        try:
            header = read_header(self.target)
        except DataError:
            return False
        wanted = (self.name, self.encoder, self.tiles, slide_digest(self.path))
        found = (header.slide, header.encoder, header.tiles, header.source)
        if found != wanted:
            return False
        whole = is_whole(self.target)
        if not whole:
            logger.warning("%s is damaged, and is made anew", self.target)
        return whole

    def plan(self, workers: int) -> "_Plan":
        """The open slide with its kept tiles."""
        reader = open_slide(self.path)
        try:
            grid = tile_grid(reader, self.settings, workers)
            if not len(grid):
                raise no_tissue(self.path)
        except BaseException:
            reader.__exit__(None, None, None)
            raise
        return _Plan(self, reader, grid)


@dataclass(frozen=True)
class _Plan:
    """An open slide and the tiles to read from it."""

    job: _Job
    reader: SlideReader
    grid: TileGrid

    def finish(self, features: np.ndarray) -> None:
        """Write the slide's file; features are [N, E] float16."""
        if not np.isfinite(features).all():
            raise DataError(
                f"the encoder gives features of {self.job.path} that do not fit 16-bit floats",
                f"some are not finite or beyond {np.finfo(np.float16).max:g}",
                "check the encoder's weights, or scale its output",
            )
        grid = self.grid
        header = FeatureHeader(
            slide=self.job.name,
            span=grid.span,
            mpp=grid.mpp,
            size=grid.size,
            slide_size=grid.slide_size,
            encoder=self.job.encoder,
            tiles=self.job.tiles,
            source=slide_digest(self.job.path),
        )
        write_features(self.job.target, features, grid.places, header)


@dataclass(frozen=True)
class _Part:
    """A batch of tiles that is being read."""

    plan: _Plan
    tiles: np.ndarray
    pending: list[Future[None]]
    last: bool

    def pixels(self) -> np.ndarray:
        """[B, S, S, 3] uint8, once all of them are read."""
        for future in self.pending:
            future.result()
        return self.tiles


class _Feed:
    """Batches in order; a few are read ahead, and the next slide is opened in advance."""

    def __init__(self, jobs: list[_Job], batch: int, workers: int) -> None:
        self._jobs, self._batch, self._workers = jobs, batch, workers
        self._pool = ThreadPoolExecutor(workers)
        # One thread each: the next slide's tissue must hold up neither batches nor the encoder.
        self._planner, self._feeder = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._open: list[_Plan] = []

    def __iter__(self) -> Iterator[_Part]:
        parts = self._parts()
        ahead = deque(self._feeder.submit(next, parts, None) for _ in range(_AHEAD))
        while (part := ahead.popleft().result()) is not None:
            ahead.append(self._feeder.submit(next, parts, None))
            yield part

    def close(self, plan: _Plan) -> None:
        """Close a slide all of whose tiles are read."""
        self._open.remove(plan)
        plan.reader.__exit__(None, None, None)

    def _parts(self) -> Iterator[_Part]:
        due = [self._planner.submit(self._plan, job) for job in self._jobs[:1]]
        for following in [*self._jobs[1:], None]:
            if not due:
                return
            plan = due.pop().result()
            if following is not None:
                due.append(self._planner.submit(self._plan, following))
            yield from self._of(plan)

    def _plan(self, job: _Job) -> _Plan:
        plan = job.plan(self._workers)
        self._open.append(plan)
        return plan

    def _of(self, plan: _Plan) -> Iterator[_Part]:
        size, count = plan.grid.size, len(plan.grid)
        for first in range(0, count, self._batch):
            numbers = range(first, min(count, first + self._batch))
            tiles = np.empty((len(numbers), size, size, 3), np.uint8)
            pending = [
                self._pool.submit(_read_into, tiles, index, plan, number)
                for index, number in enumerate(numbers)
            ]
            yield _Part(plan, tiles, pending, numbers.stop == count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The feeder first, as it waits for the planner and fills the pool.
        for executor in (self._feeder, self._planner, self._pool):
            executor.shutdown(cancel_futures=True)
        for plan in self._open:
            plan.reader.__exit__(None, None, None)


def _read_into(tiles: np.ndarray, index: int, plan: _Plan, number: int) -> None:
    tile = read_tile(plan.reader, plan.grid, number)
    tiles[index] = plan.job.prepare(tile, str(plan.job.path))


@torch.inference_mode()
def _encode(encoder: nn.Module, pixels: np.ndarray, device: torch.device) -> np.ndarray:
    """Features [B, E] float16 of tiles [B, S, S, 3] uint8."""
    # Bytes travel to the device, a quarter of what floats would be.
    images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).contiguous().float() / 255
    features: Tensor = encoder(images)
    if features.ndim != 2 or len(features) != len(pixels):
        raise ValueError(f"an encoder must give [B, E], not {tuple(features.shape)}")
    with np.errstate(over="ignore"):
        return features.float().cpu().numpy().astype(np.float16)
