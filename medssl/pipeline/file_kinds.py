"""The kinds of files that people write, with their types, and which of their keys take a chain."""

from pydantic import BaseModel

from medssl.data.spec import DataSpec
from medssl.pipeline.family import family_names, find_family
from medssl.pipeline.league import League
from medssl.pipeline.study import Study
from medssl.transforms.chain import Chain

FILES: dict[str, tuple[type[BaseModel], str]] = {
    **{
        f"{name}_{kind.kind}" if number else name: (kind.file, f"pipelines that {kind.about}")
        for name in family_names()
        for number, kind in enumerate(find_family(name).configs)
        if number == 0 or kind.file is not find_family(name).configs[0].file
    },
    "data": (DataSpec, "data specs"),
    "study": (Study, "studies"),
    "league": (League, "studies of several tasks"),
}
"""The types of all files, and what they are."""


def _chains() -> dict[str, type[Chain]]:
    """Keys that take a chain of transforms, or a word for one, such as "preprocess".

    Each type of chain stands once; those of the first kind of file without its name.
    """
    found: dict[str, type[Chain]] = {}
    for file, (model, _) in FILES.items():
        for key, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, Chain) and kind not in found.values():
                found[f"{file}.{key}" if file != next(iter(FILES)) else key] = kind
    return found


CHAINS = _chains()


def names_of(section: str) -> set[str]:
    """What a section may be asked by: a word of a chain also without the kind of file."""
    word = section.rpartition(".")[0] in CHAINS
    return {section, as_in_a_file(section)} if word else {section}


def as_in_a_file(name: str) -> str:
    """A name without the kind of file that it is of, e.g. "preprocess.joint"."""
    file, _, rest = name.partition(".")
    return rest if file in FILES and rest else name
