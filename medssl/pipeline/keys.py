"""Every key of the files that people write, read from their types: as text and as docs/keys.md.

`make docs` writes the page anew.
"""

import difflib
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any, get_args

import yaml
from pydantic import BaseModel

from medssl.data.layout import Layout
from medssl.data.plan.request import PlanSettings
from medssl.encoder_source import EncoderSource
from medssl.errors import UsageError
from medssl.methods.registry import method_names, settings_class
from medssl.mistakes import nearest
from medssl.networks.monai_list import known
from medssl.pipeline.class_keys import class_names
from medssl.pipeline.file_kinds import CHAINS, FILES, as_in_a_file, names_of
from medssl.pipeline.key import Key, Section, lines_of, wrapped
from medssl.registry import LAYOUTS
from medssl.section import is_named
from medssl.settings import MethodChoice
from medssl.transforms.chain import Chain
from medssl.wanted import models_of, wanted

IN_SHORT: dict[type[BaseModel], str] = {
    MethodChoice: "the name of a method",
    EncoderSource: "a pre-training pipeline, or the folder of a checkpoint",
    PlanSettings: "auto",
}
"""Parts that a text may stand for, beside those that are chosen by their `name`; what it says."""


def layout_options(kind: str) -> type[BaseModel]:
    """The type of a layout's own keys."""
    return LAYOUTS.find(kind, Layout).options


def section_names() -> list[str]:
    """Kinds of files, then `method.NAME`, `layout.KIND` and words, e.g. `preprocess.WORD`."""
    methods = [f"method.{name}" for name in method_names()]
    layouts = [f"layout.{kind}" for kind in LAYOUTS.names()]
    words = [f"{key}.{word}" for key, chain in CHAINS.items() for word in chain.WORDS]
    return [*FILES, *methods, *layouts, *words]


def read_section(name: str) -> Section:
    """One of `section_names`, with all its keys."""
    if name in FILES:
        return Section(name, FILES[name][1], _file_keys(name))
    start, _, own = name.partition(".")
    if start == "layout":
        kind = layout_options(own)
        about = _sentence(sys.modules[kind.__module__])
        return Section(name, about, tuple(_keys(kind, "layout.")))
    key, _, own_word = name.rpartition(".")
    if key in CHAINS:
        chain, word = CHAINS[key].of(own_word), CHAINS[key].WORDS[own_word]
        stands = f"stands for {_shown(chain.plain)}" if chain.plain else "changes nothing"
        about = f"{_sentence(word)}; on its own it {stands}"
        return Section(name, about, tuple(_keys(word, as_in_a_file(f"{name}."))))
    settings = settings_class(own)
    presets = f"; presets: {', '.join(settings.presets)}" if settings.presets else ""
    about = f"{settings.family}: {settings.summary} ({settings.paper}){presets}"
    return Section(name, about, tuple(_keys(settings, "method.")))


def find_sections(asked: str) -> list[Section]:
    """What a section, such as train, FAMILY.train, method.NAME or data, holds.

    Raises:
        UsageError: nothing is called so; names the nearest.
    """
    found = [read_section(name) for name in section_names() if asked in names_of(name)]
    for name in section_names():
        # A method's or a layout's keys start with `method.` or `layout.`, as in a file.
        before = "" if name in FILES else f"{name.partition('.')[0]}."
        if name.rpartition(".")[0] in CHAINS:
            before = as_in_a_file(f"{name}.")
        for start in names_of(name):
            if asked.startswith(f"{start}."):
                section = read_section(name)
                part = section.part(before + asked.removeprefix(f"{start}."))
                found += [Section(asked, section.about, part)] if part else []
    for name in FILES:
        section = read_section(name)
        part = section.part(asked)
        # A single key says less than the kind of file that has its name, such as data.
        if len(part) > 1 or (part and asked not in FILES):
            found.append(Section(f"{name}.{asked}", section.about, part))
    if not found:
        keys = [(name, key.name.replace("[]", "")) for name in FILES for key in _file_keys(name)]
        known = [*section_names(), *(key for _, key in keys), *(".".join(one) for one in keys)]
        known += class_names()
        raise UsageError(
            f"no section or key is called '{asked}'",
            do=nearest(asked, list(dict.fromkeys(known)))
            if difflib.get_close_matches(asked, known, n=1, cutoff=0.5)
            else "`medssl keys` lists the sections",
        )
    return found


def overview() -> str:
    """Which sections there are."""
    lines = [
        "`medssl keys SECTION` says what each key of a section takes, its default and its meaning,",
        f"e.g. `medssl keys train` or `medssl keys {next(iter(FILES))}.train.optimiser`.",
        "",
    ]
    for name, (_, about) in FILES.items():
        tops = dict.fromkeys(re.split(r"[.[]", key.name)[0] for key in _file_keys(name))
        lines += wrapped(f"{name}: {about}", ", ".join(tops))
    lines += wrapped("method.NAME: the keys of a method", ", ".join(method_names()))
    lines += wrapped("layout.KIND: the keys of a data spec's layout", ", ".join(LAYOUTS.names()))
    lines += wrapped("monai:NAME: the arguments of a network of MONAI", ", ".join(known()))
    lines += wrapped("TRANSFORM: the arguments of a transform", "RandAffined, medssl:ZScored ...")
    for key, chain in CHAINS.items():
        about = f"{key}.WORD: the keys of a word, and the chain it stands for"
        lines += wrapped(about, ", ".join(chain.WORDS))
    return "\n".join(lines)


def describe(asked: str) -> str:
    """The keys of a section for a reader, each as it can be given on the command line.

    Raises:
        UsageError: as `find_sections`.
    """
    lines = [line for section in find_sections(asked) for line in lines_of(section)]
    choices = {"method": method_names(), "layout": LAYOUTS.names()}
    choices |= {key: list(chain.WORDS) for key, chain in CHAINS.items()}
    for name, own in choices.items():
        if asked in (name, as_in_a_file(name)):
            lines += wrapped(
                f"`medssl keys {name}.NAME` prints the keys of its own of", ", ".join(own)
            )
    return "\n".join(lines).rstrip()


def page() -> str:
    """The text of docs/keys.md."""
    lines = [
        "# Every key",
        "",
        "What pipelines, data specs, layouts and studies may say, as `medssl keys SECTION` does.",
        "Keys have dots, as in an override: `train.steps=500` is `train: {steps: 500}` in a file.",
        "`labels[].name` is a key of each in a list. Made by `make docs`; do not edit.",
        "",
    ]
    for section in map(read_section, section_names()):
        lines += [f"## {section.name}", "", f"{section.about[:1].upper()}{section.about[1:]}.", ""]
        if not section.keys:
            lines += ["It has no keys of its own.", ""]
            continue
        lines += ["| key | takes | default | meaning |", "|---|---|---|---|"]
        for key in section.keys:
            default = f"`{key.default}`" if key.default else ""
            told = "must be given" if key.default is None else default
            cells = (f"`{key.name}`", key.takes, told, key.meaning)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


def _file_keys(name: str) -> tuple[Key, ...]:
    model, _ = FILES[name]
    noun = {"data": "data spec", "study": "study"}.get(name.split("_", maxsplit=1)[0], "pipeline")
    extends = Key("extends", "a text", "null", f"name or path of a {noun} whose keys stand below")
    named = "the file's name unless given; "
    keys = [
        Key(key.name, key.takes, "", named + key.meaning) if key.name == "name" else key
        for key in _keys(model)
    ]
    return (extends, *keys)


def _keys(
    model: type[BaseModel], prefix: str = "", owner: BaseModel | None = None
) -> Iterator[Key]:
    """The keys of a type and of its parts; `owner` has the defaults where it is a part."""
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        if field.metadata:
            annotation = Annotated[annotation, *field.metadata]
        default = field.get_default(call_default_factory=True)
        if owner is not None:
            default = getattr(owner, name)
        needed = field.is_required() and owner is None
        part = next(models_of(annotation), None)
        meaning = field.description or ("" if part is None else _sentence(part))
        shown = None if needed else _shown(default)
        yield Key(f"{prefix}{name}", _takes(annotation, part), shown, meaning)
        if part is not None:
            each = "[]" if tuple in _origins(annotation) else ""
            told: set[str] = set()
            for one in models_of(annotation):
                below = default if isinstance(default, one) else None
                for key in _keys(one, f"{prefix}{name}{each}.", below):
                    if key.name not in told:
                        yield key
                    told.add(key.name)


def _takes(annotation: Any, part: type[BaseModel] | None) -> str:
    if part is None:
        return wanted(annotation)
    keys = "keys of its own"
    if tuple in _origins(annotation):
        keys = "a list, each with keys of its own"
    short = next((text for kind, text in IN_SHORT.items() if issubclass(part, kind)), "")
    if is_named(part):
        short = "one of its names"
    empty = ", or null" if type(None) in get_args(annotation) else ""
    return f"{short}, or {keys}{empty}" if short else f"{keys}{empty}"


def _origins(annotation: Any) -> Iterator[Any]:
    """The kinds of lists and mappings an annotation is made of."""
    yield getattr(annotation, "__origin__", None)
    for inner in get_args(annotation):
        yield from _origins(inner)


def _shown(default: Any) -> str:
    """A default in YAML; of a part its name, if it has one."""
    if isinstance(default, BaseModel):
        return str(getattr(default, "name", ""))
    if isinstance(default, Chain):
        default = default.short
    if isinstance(default, tuple):
        default = [one.model_dump() if isinstance(one, BaseModel) else one for one in default]
        default = [list(one) if isinstance(one, tuple) else one for one in default]
    text = yaml.safe_dump(default, default_flow_style=True, width=10_000)
    return text.removesuffix("...\n").strip()


def _sentence(documented: Any) -> str:
    """The first lines of a docstring, to go on with."""
    text = " ".join((documented.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
    return text if text[1:2].isupper() or text[1:2] == "-" else text[:1].lower() + text[1:]


if __name__ == "__main__":
    sys.stdout.write(page())
