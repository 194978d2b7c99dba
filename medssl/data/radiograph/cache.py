"""The crops of all radiographs of a data set in one file, made once.

The file is keyed by the content of the images and all that cropping depends on, so a change of
either never meets a stale one. It appears by one rename, complete, and is sealed.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medssl.atomic import appearing
from medssl.data.radiograph.image import Radiograph
from medssl.data.radiograph.read import read_radiograph
from medssl.data.sealed import is_kept, seal
from medssl.data.spec import Case
from medssl.data.workers import Workers
from medssl.errors import DataError
from medssl.transforms.radiograph_chain import RadiographPreprocess

VERSION = 4  # of our own transforms; raise it when an equal chain gives other crops


def cached_crops(
    cases: Sequence[Case],
    chain: RadiographPreprocess,
    folder: Path,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Crops of every case in order, [N, V, S, S] uint8, memory-mapped.

    Args:
        cases: of the layout `radiographs`.
        folder: where the file is kept.
        workers: threads; decoding releases Python's lock.
        on_progress: called with the numbers of cases done and in all, while they are made.

    Raises:
        DataError: an image cannot be read, or lacks the side or spacing that is needed.
        UsageError: a transform of the chain fails, or makes no crops of one size of all.
    """
    path = folder / f"{_key(cases, chain)}.npy"
    if not is_kept(path):
        with appearing(path) as beside:
            _fill(beside, cases, chain, workers, on_progress)
            seal(beside)
    found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return found


def read_case(case: Case) -> Radiograph:
    """The image of a case, with the side and the spacing that its data set states.

    Raises:
        DataError: the image cannot be read, or its header states another side, or pixels that are
            not square where the data set states one spacing.
    """
    (path,) = case.images.values()
    image = read_radiograph(path)
    side, spacing = case.extra["side"], case.extra["spacing"]
    if side and image.side and side != image.side:
        raise DataError(
            f"{path} is of the side {image.side} by its header and {side} by the table",
            do="correct the one that is wrong",
        )
    return replace(image, side=side or image.side).with_spacing(spacing)


def _fill(
    path: Path,
    cases: Sequence[Case],
    chain: RadiographPreprocess,
    workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    from medssl.transforms.crops import CropPreparation, picture_after  # imports MONAI

    prepare, picture = CropPreparation(chain), chain.picture or picture_after(chain)
    shape = (len(cases), len(picture.views), picture.side, picture.side)
    crops = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with Workers(workers) as pool:
        for number, one in enumerate(pool.map(lambda case: prepare(read_case(case)), cases)):
            crops[number] = one
            if on_progress is not None:
                on_progress(number + 1, len(cases))
    crops.flush()


def _key(cases: Sequence[Case], chain: RadiographPreprocess) -> str:
    """32 hex characters over the chain and each image's content, side and spacing."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([VERSION, chain.fingerprint()]).encode())
    for case in cases:
        (path,) = case.images.values()
        if not path.is_file():
            raise DataError(f"{path} does not exist", do="run `medssl data check`")
        with path.open("rb", buffering=0) as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
        digest.update(json.dumps([case.extra["side"], case.extra["spacing"]]).encode())
    return digest.hexdigest()
