"""A chain of transforms as a pipeline file names it, checked at once; free of torch and MONAI.

    preprocess: mr                                 a short word
    preprocess: {mr: {spacing: [2, 2, 2]}}         with its own keys
    preprocess: [mr, {GaussianSmoothd: {sigma: 1}}]
    preprocess: [{Orientationd: {axcodes: RAS}}, {NormalizeIntensityd: {nonzero: true}}]

Transforms of MONAI stand by their own names, those of medssl as "medssl:NAME", those of another
package by the name of its entry point in the group `medssl.transforms`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import core_schema

from medssl.errors import UsageError
from medssl.mistakes import mistake, nearest
from medssl.registry import TRANSFORMS
from medssl.section import laid_over
from medssl.transforms.augment_words import AUGMENT_WORDS
from medssl.transforms.catalogue import known_transforms, unfit_transforms
from medssl.transforms.moves import mirrored, must_keep_patches
from medssl.transforms.step import Step, entry_of, must_find_keys
from medssl.transforms.words import PREPROCESS_WORDS, Word

_BUILT = dict.fromkeys(("Resized", "Zoomd", "RandZoomd"), 2)
"""Of how transforms of MONAI are built; raise one when an equal step gives other voxels."""


@dataclass(frozen=True)
class Chain:
    """Transforms in order.

    Attributes:
        steps: with every word spelled out.
        word: the one word that a chain was given by; None for others.
        keys: the keys of that word.
    """

    WORDS: ClassVar[Mapping[str, type[Word]]] = {}
    MASKS: ClassVar[bool] = True
    """Whether masks go through it beside images."""

    steps: tuple[Step, ...]
    word: str | None = field(default=None, compare=False)
    keys: Word | None = field(default=None, compare=False)

    @classmethod
    def of(cls, given: Any) -> Self:
        """The chain that a word, a mapping of one name to its keys, or a list of these says.

        Raises:
            ValueError: a name or an argument is not known (names the nearest), or lacks.
        """
        if isinstance(given, cls):
            return given
        parts = list(given) if isinstance(given, list | tuple) else [given]
        for part in parts:
            cls._must_not_be_keys_of_a_word(part)
        named = [_named(part) for part in parts]
        steps = tuple(step for name, keys in named for step in cls._steps(name, keys))
        must_find_keys(steps, cls.MASKS)
        alone = named[0] if len(named) == 1 and named[0][0] in cls.WORDS else None
        return cls(steps, *((alone[0], cls._word(*alone)) if alone else (None, None)))

    @classmethod
    def wanted(cls) -> str:
        """What a key with such a chain takes, in words."""
        return f"{', '.join(cls.WORDS)}, a transform, or a list of these"

    @classmethod
    def _must_not_be_keys_of_a_word(cls, part: Any) -> None:
        for name in part if isinstance(part, Mapping) else ():
            words = [word for word, own in cls.WORDS.items() if name in own.model_fields]
            if words:
                raise ValueError(
                    f"{name} is a key of {', '.join(words)}; write {{{words[0]}: {{{name}: ...}}}}"
                )

    @classmethod
    def _word(cls, name: str, keys: Mapping[str, Any]) -> Word:
        try:
            return cls.WORDS[name].model_validate(keys)
        except ValidationError as error:
            wrong = mistake(cls.WORDS[name], keys, error, f"{name}.")
            raise ValueError(_sentence(wrong)) from None

    @classmethod
    def _steps(cls, name: str, keys: Mapping[str, Any]) -> Iterator[Step]:
        if name in cls.WORDS:
            for inner, args in cls._word(name, keys).steps():
                yield Step(inner, args)
            return
        if reason := unfit_transforms().get(name):
            raise ValueError(f"the transform {name} cannot stand in a chain; it {reason}")
        try:
            entry_of(name)
        except UsageError as error:
            if name in TRANSFORMS.names():
                raise ValueError(_sentence(error)) from None
            known = [*cls.WORDS, *known_transforms(), *TRANSFORMS.names()]
            raise ValueError(f"no transform is called '{name}'; {nearest(name, known)}") from None
        step = Step(name, dict(keys))
        step.check()
        if unfit := cls._unfit(step):
            raise ValueError(f"the transform {name} {unfit}")
        yield step

    @classmethod
    def _unfit(cls, step: Step) -> str:
        """Why such a chain cannot hold a step, in words; empty if it can."""
        return ""

    def under(self, given: Any) -> Any:
        """`given`, the keys of the same word laid over this chain's own; no key: the chain."""
        if given in ({}, self.word):
            return self
        if isinstance(given, Mapping) and self.keys is not None and list(given) == [self.word]:
            own = given[self.word]
            return {self.word: laid_over(self.keys, {} if own is None else own)}
        return given

    @property
    def uncropped(self) -> Self:
        """The chain without the steps that cut to what they find in an image."""
        cuts = ("medssl:MarkForegroundd", "medssl:CropMarkedd", "CropForegroundd")
        return type(self)(tuple(step for step in self.steps if step.name not in cuts))

    @property
    def _certain(self) -> int:
        """How many steps stand before the first that draws."""
        drawn = (number for number, step in enumerate(self.steps) if step.entry.random)
        return next(drawn, len(self.steps))

    @property
    def kept(self) -> Self:
        """The steps up to the first that draws, which are carried out once."""
        known = self._certain
        return self if known == len(self.steps) else type(self)(self.steps[:known])

    @property
    def rest(self) -> tuple[Step, ...]:
        """The steps from the first that draws on, which are carried out for each item."""
        return self.steps[self._certain :]

    def must_not_draw(self, why: str) -> None:
        """Refuse random transforms.

        Raises:
            UsageError: the chain holds one; names it.
        """
        if self.rest:
            raise UsageError(
                f"the transform {self.rest[0].name} of preprocess draws at random",
                why,
                "leave it out",
            )

    @property
    def certain(self) -> Self:
        """The chain without the steps that draw: what validation and prediction see."""
        steps = tuple(step for step in self.steps if not step.entry.random)
        return self if steps == self.steps else type(self)(steps)

    def unlike(self, other: "Chain") -> str:
        """By which steps, but for crops, images look otherwise than with `other`; "" if none.

        What is drawn is left out.
        """
        own, others = self.certain.uncropped.plain, other.certain.uncropped.plain
        if own == others:
            return ""
        odd = [[one for one in a if one not in b] for a, b in ((own, others), (others, own))]
        here, there = (json.dumps(some) if some else "nothing" for some in odd)
        return f"{here} against {there}" if any(odd) else "the order of their steps"

    @property
    def plain(self) -> list[Any]:
        """The steps as a pipeline file has them."""
        return [step.plain for step in self.steps]

    @property
    def short(self) -> Any:
        """The word and keys that it was given by; without a word, its steps."""
        if self.word is None or self.keys is None:
            return self.plain
        keys = self.keys.model_dump(mode="json", exclude_defaults=True)
        return {self.word: keys} if keys else self.word

    @property
    def scales(self) -> bool:
        """Whether a step changes intensities."""
        return any(step.entry.group == "intensity" for step in self.steps)

    def fingerprint(self) -> list[Any]:
        """What decides the voxels that it makes: its steps, and versions of what makes them.

        Raises:
            UsageError: a transform is of a package whose version does not say which code it is.
        """
        others = {s.name for s in self.steps} & set(TRANSFORMS.names())
        for name in sorted(others):
            TRANSFORMS.require_steady(name)
        packages = sorted(TRANSFORMS.package(name) for name in others)
        built = {s.name: _BUILT[s.name] for s in self.steps if s.name in _BUILT}
        return [self.plain, version("monai"), packages, *([built] if built else [])]

    def __hash__(self) -> int:
        return hash(json.dumps(self.plain, sort_keys=True))

    def __str__(self) -> str:
        """In a few words: the word that it was given by, or the names of its steps."""
        return self.word or " > ".join(step.name for step in self.steps) or "nothing"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Given as `of` says; written as the list of its steps."""
        return core_schema.no_info_plain_validator_function(
            cls.of,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda one: one.plain),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """A name, a mapping of one name to its keys, or a list of these."""
        names = [*cls.WORDS, *known_transforms()]
        one = {
            "anyOf": [{"enum": names}, {"type": "string"}, {"type": "object", "maxProperties": 1}]
        }
        return {"anyOf": [*one["anyOf"], {"type": "array", "items": one}]}


PREPROCESS = (
    "what is done to a whole image, cached up to its first random transform, "
    "see `medssl keys preprocess`"
)
"""What the key `preprocess` is."""


class Preprocess(Chain):
    """What is done to a whole image, the same in training, validation and prediction.

    It is cached up to its first random transform. From there on it is carried out for each item of
    training; validation and prediction leave out what draws.
    """

    WORDS: ClassVar[Mapping[str, type[Word]]] = PREPROCESS_WORDS

    @classmethod
    def of(cls, given: Any) -> Self:
        """A chain, in which no voxel may move from the first random transform on."""
        found = super().of(given)
        for step in found.steps:
            step.must_not_ask_for_mask()
        for step in found.rest:
            if step.entry.random and step.moves:
                raise ValueError(
                    f"the transform {step.name} moves voxels at random, and where they lie is "
                    "known before training; write it under augment"
                )
            if step.moves:
                raise ValueError(
                    f"the transform {step.name} moves voxels after {found.rest[0].name} has drawn, "
                    f"and where they lie is known before; write it before {found.rest[0].name}"
                )
        return found


AUGMENT = "random changes of what training sees, see `medssl keys augment`"
"""What the key `augment` is."""


class Augment(Chain):
    """The random changes that each item of a batch goes through, drawn by its number."""

    WORDS = AUGMENT_WORDS

    @classmethod
    def _unfit(cls, step: Step) -> str:
        """Why a step cannot be here: it must take masks along and keep the size of patches."""
        return must_keep_patches(step)

    @property
    def mirrored(self) -> tuple[int, ...]:
        """Axes of the network grid along which training sees mirrored copies."""
        return mirrored(self.steps)


def _named(part: Any) -> tuple[str, Mapping[str, Any]]:
    """The name and keys of one part of a chain."""
    if isinstance(part, str):
        return part, {}
    if isinstance(part, Mapping) and len(part) == 1:
        name, keys = next(iter(part.items()))
        if keys is None:
            keys = {}
        if isinstance(keys, Word):
            return str(name), dict(iter(keys))
        if isinstance(keys, Mapping):
            return str(name), keys
        raise ValueError(f"the transform {name} takes arguments by name: {{{name}: {{...}}}}")
    if isinstance(part, Mapping) and part:
        raise ValueError(
            "several transforms are a list, e.g. "
            f"[{', '.join('{' + str(name) + ': ...}' for name in list(part)[:2])}]"
        )
    raise ValueError(
        "give the name of a transform, one name with its arguments, or a list of these"
    )


def _sentence(error: UsageError) -> str:
    return "; ".join(part for part in (error.what, error.why, error.do) if part)
