"""What is wrong with the arguments that a pipeline gives to a class of MONAI.

Free of torch and of MONAI.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import InitErrorDetails, PydanticCustomError

from medssl.mistakes import UNKNOWN_ARGUMENT


def argument_mistakes(
    name: str,
    given: Mapping[str, Any],
    takes: Sequence[str],
    required: Sequence[str],
    ours: Collection[str],
) -> Iterator[InitErrorDetails]:
    """Arguments that it lacks, values that a checkpoint could not hold, and what is missing.

    Args:
        name: of the class, as the pipeline says it.
        takes: the arguments that may be given.
        required: those of them without a default.
        ours: arguments that medssl itself gives.
    """
    for key, value in given.items():
        if key not in takes:
            wrong = _unknown(name, key, takes, ours)
            yield InitErrorDetails(type=wrong, loc=(key,), input=value)
    for key, value in given.items():
        if not _is_plain(value):
            plain = "give numbers, texts, true, false, null or lists"
            wrong = PydanticCustomError("value_error", plain)
            yield InitErrorDetails(type=wrong, loc=(key,), input=value)
    for key in required:
        if key not in given:
            yield InitErrorDetails(type="missing", loc=(key,), input={})


def _unknown(
    name: str, key: str, takes: Sequence[str], ours: Collection[str]
) -> PydanticCustomError:
    if key in ours:
        return PydanticCustomError(
            UNKNOWN_ARGUMENT, "{what}", {"what": "medssl gives it by itself", "known": []}
        )
    what = f"{name} has no such argument"
    return PydanticCustomError(UNKNOWN_ARGUMENT, "{what}", {"what": what, "known": [*takes]})


def _is_plain(value: Any) -> bool:
    try:
        return bool(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return False
