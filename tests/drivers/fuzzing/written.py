"""Settings as users write them: pipelines, overrides, studies, settings of methods.

Whoever sets one key changes that key and no other; whatever cannot be is refused before any work.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from numpy.random import Generator

from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import ODD, damage_yaml, pick
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.toys import TOYS
from tests.families.slide.conftest import write_bags

PIPELINES = ("balls", "joints", "bags", "slides", "encoder", "masks")
STUDIES = ("balls_study", "joints_study", "bags_study", "heads_study")

STEERING = ("name", "title", "data", "exclude", "method.name", "method.preset", "pretrain")
"""Keys by which others may change."""

NUMBERS = (
    "0", "1", "2", "3", "-1", "0.5", "1.5", "7", "32", "1e-3", "10000000", "1e30", ".nan", ".inf",
    "true", "false", "null", "[1, 2, 3]", "[8, 8, 8]", "[0, 8, 8]", "[7, 7, 7]", "adam",
    "{name: adam}", "x", "[", "{", "a: b: c", "''", "1:30", "017", "0o17", "1_000", "0x1f", "1e3",
)  # fmt: skip


def _make(place: Path) -> None:
    for toy in TOYS.values():
        toy(place)
    write_bags(place / "data" / "toys" / "bags.npz", bags=18)


def _damage_pipeline(place: Path, rng: Generator) -> str:
    name = pick(rng, PIPELINES)
    (place / "chosen").write_text(json.dumps([name, []]))
    return damage_yaml(place / "pipelines" / f"{name}.yaml", rng)


def _damage_key(place: Path, rng: Generator) -> str:
    """One or two `key=value`; keys that there are, or nearly."""
    name = pick(rng, PIPELINES)
    found, given = settings(name), []
    found.pop("train.threads", None)  # a thousand threads end this process under its limit
    for _ in range(int(rng.integers(1, 3))):
        key = pick(rng, [key for key in found if not key.startswith("name")])
        word = _word(rng, found[key])
        key = pick(rng, (key,) * 9 + (key[:-1], f"{key}.x", key.partition(".")[0]))
        given.append(f"{key}={word}")
    (place / "chosen").write_text(json.dumps([name, given]))
    return f"{name} {' '.join(given)!r:.120}"


def _damage_method(place: Path, rng: Generator) -> str:
    """A method with its preset or without, and one key of its own."""
    from medssl.methods.registry import method_names, settings_class

    method = pick(rng, method_names())
    chosen = settings_class(method)
    family = {"segment": "balls", "grade": "joints", "slide": "bags", "pretrain": "encoder"}
    given = [f"method={method}"]
    if chosen.presets and rng.random() < 0.4:
        given.append(f"method.preset={pick(rng, sorted(chosen.presets))}")
    found = _flat(chosen().model_dump(mode="json"))
    if found:
        key = pick(rng, list(found))
        given.append(f"method.{key}={_word(rng, found[key])}")
    (place / "chosen").write_text(json.dumps([family[chosen.family], given]))
    return " ".join(given)[:120]


def _word(rng: Generator, now: Any) -> str:
    """A value as it stands behind the equals sign: near to the present one, a number, or odd."""
    chance = rng.random()
    if chance < 0.5:
        found = _near(rng, now)
    elif chance < 0.8:
        return pick(rng, NUMBERS)
    else:
        found = pick(rng, ODD)
    return yaml.safe_dump(found, default_flow_style=True, width=10**6).split("\n")[0]


def _near(rng: Generator, now: Any) -> Any:
    """A value of the same kind."""
    if isinstance(now, bool):
        return not now
    if isinstance(now, int):
        return pick(rng, (0, 1, 2, 3, now + 1, now * 2, -now, now * 1000))
    if isinstance(now, float):
        return pick(rng, (0.0, 1.0, now / 2, now * 2, -now, now * 1e6))
    if isinstance(now, list) and now:
        changed = [*now]
        changed[int(rng.integers(len(now)))] = _near(rng, now[0])
        return pick(rng, (changed, changed, now[1:], [*now, now[0]]))
    return pick(rng, (None, 1, 0.5, "x", [], [8, 8, 8]))


def settings(name: str, given: Iterable[str] = ()) -> dict[str, Any]:
    """Every setting of a pipeline by dotted key; the configuration of its family is loaded."""
    return _flat(load(name, given).resolved())


def load(name: str, given: Iterable[str] = ()) -> Any:
    """The configuration of a pipeline of any family."""
    from medssl.pipeline.config import load_config

    return load_config(name, list(given))


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        inner = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    name, given = json.loads((place / "chosen").read_text())
    pretrains = name == "encoder"
    short = ("train.epochs=1",) if name in ("bags", "slides") else ("train.steps=1",)
    yield "load", lambda: _only_these_keys(name, given)
    if (name, pretrains) != ("slides", False):
        verb = "pretrain" if pretrains else "train"
        # The overrides come last, unless they ask for a long training.
        cheap = [one for one in given if not one.startswith(("train.steps", "train.epochs"))]
        yield verb, lambda: medssl(verb, name, "-q", *short, *cheap)


def _only_these_keys(name: str, given: list[str]) -> None:
    after = settings(name, given)
    for key, _, word in (one.partition("=") for one in given):
        _must_be_as_written(word, after.get(key))
    keys = [one.partition("=")[0] for one in given]
    if (
        any(key == one or one.startswith(f"{key}.") for key in keys for one in STEERING)
        or not given
    ):
        return
    for key, value in settings(name).items():
        named = any(
            key == one or key.startswith(f"{one}.") or one.startswith(f"{key}.") for one in keys
        )
        if not named and repr(after.get(key, "(gone)")) != repr(value):
            raise Silent(f"{key} was {value!r} and is {after.get(key, '(gone)')!r}")


def _must_be_as_written(word: str, found: Any) -> None:
    """A number is the one that a reader of the word would say."""
    if isinstance(found, int | float) and not isinstance(found, bool):
        text = word.strip("'\"").lower()
        try:
            meant = int(text, 0) if text.startswith("0x") else float(text)
        except ValueError:
            raise Silent(f"{word} is {found!r}") from None
        if meant != found:
            raise Silent(f"{word} is {found!r}")


def _exercise_method(place: Path, _: Path) -> Iterable[Step]:
    name, given = json.loads((place / "chosen").read_text())

    def only_the_key() -> None:
        *chosen, last = given
        before, after = settings(name, chosen), settings(name, given)
        own = last.partition("=")[0]
        for key, value in before.items():
            named = key == own or key.startswith(f"{own}.") or own.startswith(f"{key}.")
            if last != chosen and not named and repr(after.get(key, "(gone)")) != repr(value):
                raise Silent(f"{key} was {value!r} and is {after.get(key, '(gone)')!r}")

    yield (
        "load",
        only_the_key if "=" in given[-1] and len(given) > 1 else lambda: settings(name, given),
    )
    verb = "pretrain" if name == "encoder" else "train"
    short = "train.epochs=1" if name == "bags" else "train.steps=1"
    yield verb, lambda: medssl(verb, name, "-q", *given, short)


def _damage_study(place: Path, rng: Generator) -> str:
    name = pick(rng, STUDIES)
    (place / "chosen").write_text(json.dumps(name))
    return damage_yaml(place / "pipelines" / f"{name}.yaml", rng)


def _exercise_study(place: Path, _: Path) -> Iterable[Step]:
    name = json.loads((place / "chosen").read_text())
    yield "grid", lambda: _grid(name)
    # An arm that is not there: all is read and nothing is run.
    yield "only", lambda: _refused("study", name, "-q", "--only", "arm=none")


def _grid(name: str) -> None:
    """Every run of a study, of whichever family, with its settings loaded."""
    from medssl.pipeline.study import cells, load_study

    study = load_study(name)
    for one in cells(study)[:4]:
        load(study.pipeline, one.overrides)


def _refused(*words: str) -> None:
    from medssl.errors import UsageError

    try:
        medssl(*words)
    except UsageError as error:
        if not str(error).isprintable():
            raise
    else:
        raise Silent("an arm that is not there was run")


FORMATS = (
    Format("pipeline", _make, _damage_pipeline, _exercise, weight=0.5),
    Format("override", _make, _damage_key, _exercise, weight=0.7),
    Format("method", _make, _damage_method, _exercise_method, weight=0.7),
    Format("study", _make, _damage_study, _exercise_study),
)
