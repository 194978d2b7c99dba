"""What processes of one training tell each other: values as bytes, which hold no code.

A message is a file of safetensors in memory: its values as JSON, and each array beside them.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load, save
from torch import Tensor

_VALUES, _ARRAY = "values", "array of the message"


def packed(value: Any) -> bytes:
    """Plain values, lists, mappings with texts as keys, arrays and tensors as bytes.

    Numbers keep every bit. Tuples become lists, numbers of numpy plain ones, tensors arrays.

    Raises:
        TypeError: there is something else among them.
    """
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_plain(value, arrays))
    found: bytes = save({**arrays, _VALUES: np.frombuffer(text.encode(), np.uint8)})
    return found


def unpacked(content: bytes) -> Any:
    """What `packed` was given."""
    arrays = load(content)
    return _whole(json.loads(arrays.pop(_VALUES).tobytes()), arrays)


def _plain(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        name = str(len(arrays))
        arrays[name] = np.ascontiguousarray(value)
        return {_ARRAY: [name, list(value.shape)]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"{odd[0]!r} is no text, and cannot be a key of a message")
        return {key: _plain(one, arrays) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, arrays) for one in value]
    return value


def _whole(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            name, shape = value[_ARRAY]
            return arrays[name].reshape(shape).copy()
        return {key: _whole(one, arrays) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one, arrays) for one in value]
    return value
