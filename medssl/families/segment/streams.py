"""The batches of a training that segments, and what the unlabelled ones are centred on."""

from collections.abc import Mapping

import numpy as np

from medssl.data.cache import CachedCase
from medssl.data.foreground import find_class_voxels
from medssl.data.pseudo_foreground import MOST, PseudoForeground
from medssl.data.rest import Rest
from medssl.data.split import Split
from medssl.data.stream import PatchStream
from medssl.errors import UsageError
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.validation import Answers
from medssl.methods.method import SegmentMethod


def pseudo_foreground(
    config: SegmentConfig,
    split: Split,
    cached: Mapping[str, CachedCase],
    method: SegmentMethod,
    answers: Answers,
) -> PseudoForeground | None:
    """What finds foreground in unlabelled cases by the present weights; None: nobody asks for it.

    Args:
        answers: of `method`.
    """
    train = config.pipeline.train
    if not train.foreground_unlabelled or "unlabelled" not in method.streams:
        return None

    def find() -> list[np.ndarray]:
        method.eval()
        found = [find_class_voxels(answers(cached[name]), MOST) for name in split.unlabelled]
        method.train()
        return found

    return PseudoForeground(find, train.foreground_refresh, train.foreground_by)


def streams(
    config: SegmentConfig,
    method: SegmentMethod,
    split: Split,
    cached: Mapping[str, CachedCase],
    search: PseudoForeground | None = None,
) -> dict[str, PatchStream]:
    """The streams the method asks for; `search` says what is foreground in unlabelled cases."""
    pipeline = config.pipeline
    given = {
        "labelled": (split.labelled, pipeline.train.batch_labelled),
        "unlabelled": (split.unlabelled, pipeline.train.batch_unlabelled),
    }
    for kind in method.streams:
        if not given[kind][0]:
            raise UsageError(
                f"the method {pipeline.method.name} needs {kind} cases and the split has none",
                f"split.labels={pipeline.split.labels} takes all cases that have a label"
                if pipeline.split.labels
                else "every case has a label",
                "lower split.labels or choose method=supervised",
            )
    sampler = method.sampler(pipeline.train.patch)
    found: dict[str, PatchStream] = {}
    for kind in method.streams:
        cases, size = [cached[name] for name in given[kind][0]], given[kind][1]
        late = pipeline.train.augment_on == "gpu"
        how = (sampler, pipeline.augment, size, pipeline.seed, late)
        rest = Rest(pipeline.preprocess.rest)
        by = pipeline.train.foreground_by
        if kind == "labelled":
            found[kind] = PatchStream(kind, cases, *how, pipeline.train.foreground, by, None, rest)
        else:
            share = pipeline.train.foreground_unlabelled if search is not None else 0.0
            found[kind] = PatchStream(kind, cases, *how, share, by, search, rest)
    return found
