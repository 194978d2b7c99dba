"""How far the sizes of masks are off, as the cases show that a cross-validation left out.

The logarithm of outlined size over predicted size is taken to be normal about 0, so that a scatter
and a bias both widen the interval, and the predicted size always lies within it. A new case then
lies within the Student quantile of as many degrees of freedom as there were cases.

Source: the prediction interval of a normal variable of known mean, as limits of agreement
(Bland and Altman, Lancet 327, 1986) on a logarithmic scale.
"""

import math
from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

LEVEL = 0.95

LARGEST = 10.0
"""Factor from which on an interval would say nothing."""


class SizeError(BaseModel):
    """The errors of one class.

    Attributes:
        cases: that were left out, and have the class in both masks.
        error: root mean square of log(outlined size / predicted size).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cases: int = Field(ge=2)
    error: float = Field(ge=0)

    @classmethod
    def of(cls, sizes: Iterable[tuple[float, float]]) -> Self | None:
        """The error of pairs of outlined and predicted sizes.

        None where it cannot be known: of one case, where a structure was missed or made up, or
        where sizes may be off tenfold.
        """
        pairs = [pair for pair in sizes if any(pair)]
        if len(pairs) < 2 or not all(all(pair) for pair in pairs):
            return None
        squares = [math.log(outlined / predicted) ** 2 for outlined, predicted in pairs]
        found = cls(cases=len(squares), error=math.sqrt(math.fsum(squares) / len(squares)))
        return found if found.factor < LARGEST else None

    @property
    def factor(self) -> float:
        """A size lies between the predicted one divided and multiplied by this, 19 times in 20."""
        from scipy.special import stdtrit

        return math.exp(float(stdtrit(self.cases, (1 + LEVEL) / 2)) * self.error)
