"""Numbers of settings that cannot be are refused at once, whatever the group of settings."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from medssl.errors import UsageError
from medssl.pipeline.config import load_config
from medssl.section import Section
from tests.test_section import EVERY

ELSEWHERE = {
    "families.pretrain.config.PretrainTrainSettings.patch",
    "methods.settings.alice.Embedding.patch",
    "networks.monai_tile_settings.MonaiTileSettings.std",
    "settings.TrainSettings.patch",
}
"""What a patch can be is known with the network, which refuses others by the nearest that fits;
what deviations, with the other keys of the encoder."""

ANY_SIGN = {
    "data.dicom.rule.SeriesRule.number",
    "data.scan.matching_settings.MatchingSettings.similarity",
    "methods.settings.modality_invariant.Ramp.end",
    "methods.settings.modality_invariant.Ramp.start",
    "methods.settings.tracoco.Noise.clip",
    "methods.settings.tracoco.Translation.logit_clamp",
    "networks.monai_tile_settings.MonaiTileSettings.mean",
    "transforms.augment_words.BasicWord.clip",
}
"""Keys whose numbers may be below 0."""

ANY_ORDER = {
    "methods.settings.dino.GlobalCrops.blur",
    "methods.settings.dino.GlobalCrops.solarise",
    "methods.settings.mean_teacher.Settings.threshold",
    "methods.settings.multi_augs.Settings.blend",
    "methods.settings.unimatch.Settings.strong_weights",
    "settings.OptimiserSettings.betas",
    "transforms.words.CtWord.zscore",
}
"""Pairs of numbers that are no least and most."""

SIZES = {
    *("batch", "batch_labelled", "batch_unlabelled", "batch_pairs", "batch_scans", "batch_bags"),
    *("bottleneck", "decoder_width", "embed_width", "hidden", "outputs", "query_width", "width"),
    *("prototypes", "queue", "tokens", "landmarks"),
    *("columns", "depths", "draws", "grid", "heads", "kernel", "layers", "members", "points"),
    *("side", "size", "window"),
}
"""Keys that say how much memory or how many networks there are."""

MOST_EVER = 10**7
"""Steps of the longest training, and more than any other count."""

MORE = {
    **dict.fromkeys(("seed", "seeds", "test_seed", "eval_seed"), 2**32),
    "number": 2**31,  # of DICOM's integers
    "bytes": 2**50,
}
"""Whole numbers that count nothing, or bytes, and their most."""


def plain(annotation: Any) -> Any:
    """A type without its limits, and without None."""
    if get_origin(annotation) is Annotated:
        return plain(get_args(annotation)[0])
    inner = get_args(annotation)
    if type(None) in inner:
        return plain(next(one for one in inner if one is not type(None)))
    return annotation


def lengths(annotation: Any) -> int:
    """Of a list of numbers; 0 of a number alone."""
    inner = get_args(plain(annotation))
    return 0 if get_origin(plain(annotation)) is not tuple else 1 if ... in inner else len(inner)


def is_numeric(annotation: Any) -> bool:
    """Whether a key takes a number, or a list of them."""
    kind = plain(annotation)
    if get_origin(kind) is tuple:
        return all(is_numeric(one) for one in get_args(kind) if one is not ...)
    return kind in (int, float)


def is_whole(key: str) -> bool:
    """Whether a key takes a whole number, or a list of them."""
    owner, name = NUMBERS[key]
    kind = plain(owner.model_fields[name].annotation)
    return kind is int or (get_origin(kind) is tuple and plain(get_args(kind)[0]) is int)


def keys() -> Iterator[tuple[str, type[BaseModel], str]]:
    for owner in EVERY:
        if issubclass(owner, Section) and not getattr(owner, "__abstractmethods__", None):
            for name, field in owner.model_fields.items():
                if is_numeric(field.annotation):
                    where = f"{owner.__module__.removeprefix('medssl.')}.{owner.__qualname__}"
                    yield f"{where}.{name}", owner, name


NUMBERS = {identity: (owner, name) for identity, owner, name in keys()}
PAIRS = [
    key
    for key, (owner, name) in NUMBERS.items()
    if lengths(owner.model_fields[name].annotation) == 2
    and float in map(plain, get_args(plain(owner.model_fields[name].annotation)))
]


def is_taken(key: str, *numbers: float) -> bool:
    """Whether a group of settings takes these numbers under a key, whatever it says of others."""
    owner, name = NUMBERS[key]
    count = lengths(owner.model_fields[name].annotation)
    listed = numbers if len(numbers) > 1 else numbers * count
    try:
        owner.model_validate({name: listed if count else numbers[0]})
    except ValidationError as error:
        own = {"missing", "extra_forbidden"}
        return all(one["type"] in own and one["loc"] != (name,) for one in error.errors())
    return True


def test_many_keys_are_looked_at() -> None:
    assert len(NUMBERS) > 300
    assert len(PAIRS) > 25


@pytest.mark.parametrize("key", sorted(NUMBERS))
def test_a_number_below_0_is_refused_where_it_means_nothing(key: str) -> None:
    assert is_taken(key, -1) == (key in ELSEWHERE | ANY_SIGN)


@pytest.mark.parametrize("key", sorted(PAIRS))
def test_of_a_range_the_smaller_number_comes_first(key: str) -> None:
    owner, name = NUMBERS[key]
    default = owner.model_fields[name].default
    low, high = default if default and default[0] != default[1] else (0.25, 0.5)
    assert is_taken(key, low, high)
    assert is_taken(key, high, low) == (key in ANY_ORDER)


@pytest.mark.parametrize("key", sorted(key for key in NUMBERS if key.split(".")[-1] in SIZES))
def test_a_size_that_no_memory_holds_is_refused(key: str) -> None:
    assert not is_taken(key, 10**7)


@pytest.mark.parametrize("key", sorted(key for key in NUMBERS if is_whole(key)))
def test_a_count_without_end_is_refused(key: str) -> None:
    endless = MORE.get(key.rsplit(".", maxsplit=1)[-1], MOST_EVER)
    assert is_taken(key, endless + 1) == (key in ELSEWHERE)


def test_the_most_of_a_count_is_told_in_full() -> None:
    with pytest.raises(UsageError) as caught:
        load_config("hippocampus", ["train.steps=1000000000000"])
    assert str(caught.value) == (
        "train.steps=1000000000000 is wrong; give a whole number of at least 1 and at most "
        "10000000, e.g. 10000000"
    )
