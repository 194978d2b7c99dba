"""A first pipeline for cases that were found, with reasons; each family says what it would do."""

from collections.abc import Sequence
from typing import Any

from medssl.data.layouts import layout_of
from medssl.data.spec import Case, DataSpec
from medssl.errors import UsageError
from medssl.pipeline.family import family_names, find_family
from medssl.registry import load
from medssl.yaml_text import document

FOLDS = 5
"""Of a cross-validation that gives scores where no case is held back for them."""

Keys = list[tuple[str, Any, str]]
"""Keys of a pipeline with their values, and what is said above each."""


def pipeline_draft(spec: DataSpec, cases: Sequence[Case]) -> str:
    """The pipeline, as the first family says that knows what to do with such cases.

    Raises:
        UsageError: none does; DataError: nothing can be learnt from them yet.
    """
    head = [
        "What to do with the data. Written by `medssl init`; what is not said here has its",
        "default, and `medssl keys` has every key.",
    ]
    about: Keys = [("title", spec.title, ""), ("data", spec.name, "")]
    content = layout_of(spec).content
    for family in map(find_family, family_names()):
        if family.draft is not None and any(content in kind.reads for kind in family.configs):
            keys: Keys | None = load(family.draft)(spec, cases)
            if keys is not None:
                first = [key for key in keys if key[0] == "extends"]
                return document(head, [*first, *about, *(key for key in keys if key not in first)])
    raise UsageError(
        f"no pipeline can be written for {spec.name}",
        f"it holds {content}, for which no family writes a first one",
        "write one by hand; `medssl keys` lists the sections",
    )
