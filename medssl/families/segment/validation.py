"""What a segmentation network in training says of whole cases, on the network's grid."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch

from medssl.data.cache import CachedCase
from medssl.data.foreground import where_known
from medssl.data.spec import DataSpec
from medssl.device import choose_device
from medssl.families.segment.config import SegmentConfig
from medssl.infer.window import sliding_window
from medssl.methods.method import SegmentMethod
from medssl.networks.outputs import Outputs
from medssl.train.distributed import TEAM


def outputs_of(spec: DataSpec) -> Outputs:
    """What networks of a data set answer with."""
    return Outputs(spec.classes, spec.united)


class Answers:
    """Class indices of whole cases by the present weights of a method."""

    def __init__(self, config: SegmentConfig, method: SegmentMethod) -> None:
        self._config, self._method = config, method

    @torch.no_grad()
    def __call__(self, case: CachedCase) -> np.ndarray:
        """[X, Y, Z] uint8."""
        pipeline = self._config.pipeline
        x, y, z = pipeline.train.patch
        logits = sliding_window(
            torch.from_numpy(case.image.astype("float32")),
            self._method.predictor(),
            pipeline.train.patch,
            pipeline.predict.stride or (max(1, x // 2), max(1, y // 2), max(1, z // 2)),
            weighting=pipeline.predict.weighting,
            window_batch=pipeline.predict.window_batch,
            outside=case.floor,
            device=choose_device(pipeline.train.device),
        )
        labels: np.ndarray = outputs_of(self._config.spec).labels(logits).cpu().numpy()
        return labels


class Validation:
    """Mean foreground Dice of whole validation volumes on the network's grid; of regions theirs."""

    def __init__(self, answer: Answers, cases: Sequence[CachedCase], outputs: Outputs) -> None:
        self._answer, self._cases, self._outputs = answer, cases, outputs

    def __call__(self, step: int = 0) -> dict[str, float]:
        """Scores by name; "dice" is the mean over cases and foreground classes."""
        from medssl.evaluate.mask_metrics import Dice

        unions = tuple(region.classes for region in self._outputs.regions)
        metric = Dice(len(self._outputs.classes), unions)  # joins over processes by itself
        for case in TEAM.own(self._cases):
            pair = where_known(self._answer(case), np.asarray(case.mask))
            outlined = case.outlined
            if outlined is not None and not unions:
                outlined = outlined[1:]
            found, truth = map(torch.from_numpy, pair)
            metric.update(found, truth, outlined)
        with warnings.catch_warnings():  # of a process that had no case to add
            warnings.filterwarnings("ignore", "The ``compute`` method", UserWarning)
            return {"dice": float(metric.compute())}
