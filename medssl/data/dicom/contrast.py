"""Which contrast a channel means, and a series shows: by words, else by the times."""

import re

from medssl.data.dicom.facts import Facts
from medssl.data.found.words import words_of

_NAMES = {
    "t1c": "t1c t1ce t1gd t1km t1post t1contrast",
    "t1": "t1 t1w t1n t1pre mprage mp2rage spgr fspgr bravo",
    "flair": "flair t2f fl darkfluid tirm",
    "t2star": "t2star t2s gre",
    "t2": "t2 t2w",
    "pd": "pd pdw",
    "adc": "adc",
    "dwi": "dwi diff diffusion trace",
    "swi": "swi swan",
    "pet": "pet suv",
    "ct": "ct",
}
"""Words by which a channel of a data spec is known."""

_SHOWN = (
    ("adc", r"\badc\b|apparent diffusion"),
    ("dwi", r"\bdwi\b|diff|\bdti\b|\btrace"),
    ("swi", r"\bswi\b|swan|suscept"),
    ("flair", r"flair|dark.?fluid|\btirm\b"),
    ("t2star", r"t2\s*(\*|star)|\bhemo"),
    ("pd", r"\bpdw?\b|proton"),
    ("t1", r"t1|mp2?rage|\bf?spgr\b|bravo"),
    ("t2", r"t2"),
)
_AGENT = re.compile(r"\bpost|post\b|\bgd\b|\+\s*c\b|\bc\+|\bce\b|\bkm\b|contrast|gado|t1c")


def contrast_of_channel(name: str) -> str:
    """The contrast that a channel is named after; empty where its name says none."""
    plain = name.lower()
    words = {plain, *words_of(name), *re.split(r"[_\-. ]+", plain)}
    return next((one for one, names in _NAMES.items() if words & set(names.split())), "")


def contrast_of_series(facts: Facts) -> str:
    """The contrast that a series shows; empty where it does not say."""
    if facts.modality in ("CT", "PT"):
        return "ct" if facts.modality == "CT" else "pet"
    words = facts.words.replace("_", " ")
    named = next((one for one, pattern in _SHOWN if re.search(pattern, words)), "")
    found = named or _by_times(facts)
    agent = facts.agent or (named == "t1" and _AGENT.search(words) is not None)
    return "t1c" if found == "t1" and agent and not re.search(r"\bpre", words) else found


def _by_times(facts: Facts) -> str:
    """What spin echoes of such times show; empty where that is not sure."""
    repetition, echo, inversion = facts.times
    if repetition is None or echo is None:
        return ""
    if inversion is not None and inversion > 1500 and echo > 60:
        return "flair"
    if repetition < 1000 and echo < 30:
        return "t1"
    return "t2" if repetition > 2000 and echo > 60 else ""
