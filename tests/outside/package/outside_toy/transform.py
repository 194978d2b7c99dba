"""The transform `damped`, which a chain of preprocessing can hold."""

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import MapTransform


class Dampedd(MapTransform):
    """Intensities times a factor."""

    def __init__(self, keys: Any, factor: float, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.factor = factor

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with damped images."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            changed[key] = changed[key] * self.factor
        return changed
