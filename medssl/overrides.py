"""How keys lie over keys: an override over a file, and a file over the one that it extends.

Classes of sections are imported by what asks for them alone, so that a wrong key is told at once.
"""

from collections.abc import Sequence
from typing import Any

from medssl.errors import UsageError
from medssl.yaml_keys import parse_yaml

NAMED = {"network", "encoder", "embedder", "slice_encoder", "image_encoder", "optimiser"}
"""Parts that may be given by a name alone: `network=unet3d` is `network.name=unet3d`, so that the
other keys of the file stay."""

CHAINS = {"preprocess", "augment"}
"""Parts that hold the keys of one word, or are a list: another word replaces the first. Elsewhere,
such as in the settings of a method, a part of that name may have plain keys."""

_OF_IMAGES = ("side", "normalise", "mean", "std", "resize")

_CLASSES = {
    "network": (),
    "encoder": _OF_IMAGES,
    "image_encoder": _OF_IMAGES,
    "slice_encoder": ("pooled",),
}
"""Parts that name a class with keys of its own, and those that every class has and that stay."""

_CHOICES = {"method": {"name"}, "pretrain": {"checkpoint", "pipeline"}, "layout": {"kind"}}
"""Parts that are chosen anew, whatever lies below, by a mapping with one of these keys."""


def apply_override(plain: dict[str, Any], text: str) -> None:
    """Set one `key.sub=value`, the value in YAML, in `plain`.

    `key={a: 1}` is `key.a=1`: keys lie over those that are there, as in `laid_over`.

    Raises:
        UsageError: `text` is not of that form.
    """
    key, equals, right = text.partition("=")
    *parents, last = key.split(".")
    if not equals or not all((*parents, last)):
        raise UsageError(f"'{text}' is not of the form key=value", do="write e.g. train.steps=500")
    value = parse_yaml(right, f"the value of '{text}'")
    place = plain
    if last == "name" and parents and parents[-1] in NAMED:
        last, value = parents.pop(), {"name": value}
    for part, inner in zip(parents, [*parents[1:], last], strict=False):
        # A copy: YAML anchors may let two keys share one mapping.
        place[part] = _as_keys(part, place.get(part), {inner})
        place = place[part]
    place[last] = _over(last, place.get(last), value)


def apply_overrides(plain: dict[str, Any], texts: Sequence[str]) -> None:
    """Set one after the other in `plain`.

    Raises:
        UsageError: as `apply_override`; or a later one chooses anew what an earlier one is a key
            of.
    """
    for text in texts:
        apply_override(plain, text)
    for number, text in enumerate(texts):
        key = text.partition("=")[0]
        above = [one for one in texts[number + 1 :] if key.startswith(f"{one.partition('=')[0]}.")]
        if above and not _stands(plain, key.split(".")):
            raise UsageError(
                f"'{text}' has no effect",
                f"'{above[-1]}' after it chooses anew what it is a key of",
                "write them the other way round, or leave it out",
            )


def _stands(plain: Any, parts: Sequence[str]) -> bool:
    """Whether there is such a key."""
    for part in parts:
        if not isinstance(plain, dict) or part not in plain:
            return False
        plain = plain[part]
    return True


def laid_over(below: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """The keys of `top` over those `below`, mapping by mapping; lists are replaced.

    A part with a name of its own, such as the network, may be given by that name alone, and keeps
    its other keys. A method, an encoder to start from, and a layout are chosen as a whole: their
    keys belong to them.
    """
    return below | {key: _over(key, below.get(key), value) for key, value in top.items()}


def _over(key: str, below: Any, value: Any) -> Any:
    """What `key` is, with `value` laid over what lies below."""
    if key in NAMED and isinstance(value, str) and isinstance(below, dict):
        value = {"name": value}
    if not isinstance(value, dict) or _CHOICES.get(key, set()) & value.keys():
        return value
    keys = _as_keys(key, below, set(value))
    if keys and key in _CLASSES and _is_other_class(keys.get("name"), value.get("name")):
        return {one: keys[one] for one in _CLASSES[key] if one in keys} | value
    return laid_over(keys, value)


def _is_other_class(below: Any, name: Any) -> bool:
    """Whether networks share no keys, since one of them takes other keys than the other."""
    return name is not None and _keys_of_network(below) != _keys_of_network(name)


def _keys_of_network(name: Any) -> str:
    """What networks have in common that take the same keys: each class of MONAI takes its own."""
    from medssl.networks.monai_list import PREFIX
    from medssl.networks.settings import OWN_KEYS, UNETS

    if name in UNETS:
        return "those of nnU-Net's U-Nets"
    own = isinstance(name, str) and (name.startswith(PREFIX) or name in OWN_KEYS)
    return name if own else ""


def _is_chain(given: Any, top: set[str]) -> bool:
    """Whether a part holds transforms or words, and no plain keys."""
    if not isinstance(given, dict):
        return True
    from medssl.registry import TRANSFORMS
    from medssl.transforms.augment_words import AUGMENT_WORDS
    from medssl.transforms.catalogue import known_transforms
    from medssl.transforms.radiograph_chain import RADIOGRAPH_WORDS
    from medssl.transforms.tile_chain import TilePreprocess
    from medssl.transforms.words import PREPROCESS_WORDS

    words = {*PREPROCESS_WORDS, *AUGMENT_WORDS, *RADIOGRAPH_WORDS, *TilePreprocess.WORDS}
    known = (words, known_transforms().keys(), set(TRANSFORMS.names()))
    return any((top | given.keys()) & names for names in known)


def _as_keys(part: str, given: Any, top: set[str]) -> dict[str, Any]:
    """A copy of the keys of a part over which those of `top` are laid.

    The part may be given by its name alone. Of a chain, only words that are in `top` too are kept.
    """
    if part in CHAINS and _is_chain(given, top):
        words = {given: {}} if isinstance(given, str) else given
        return {
            word: words[word] or {} for word in top if isinstance(words, dict) and word in words
        }
    if isinstance(given, str):
        if part == "plan":  # auto
            return {}
        if part == "pretrain":
            from medssl.encoder_source import pretrain_keys

            return pretrain_keys(given)
        return {"name": given}
    return dict(given) if isinstance(given, dict) else {}
