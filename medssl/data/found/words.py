"""Words in the names of files and folders that say what they hold."""

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


MASKS = _set(
    "mask masks seg segs segm segms segmentation segmentations segmented label labels lbl lbls "
    "labelmap labelmaps gt truth annotation annotations annot roi rois contour contours dseg "
    "delineation delineations outline outlines maske masken segmentierung"
)
"""Of masks."""

CHANNELS = _set(
    "t1 t1w t1c t1ce t1gd t1n t1km t2 t2w t2f t2star flair pd pdw dwi adc swi ct cta cbct pet "
    "suv dixon water fat mra dce perf"
)
"""Of contrasts, each of which is a channel."""

VERSIONS = _set(
    "rater reader observer expert annotator reviewer user person anno rev version ver old new "
    "final draft copy corrected correction auto manual pred prediction consensus majority staple"
)
"""Of several masks of one scan that show the same, as by two people."""

VISITS = _set(
    "visit v ses session scan scans exam study time timepoint tp t week w month m day d date "
    "baseline bl followup fu pre post left right l r lt rt run"
)
"""Of several scans of one patient."""

TESTS = _set("test tests testing ts")
"""Of the part of a data set that is kept for scores."""

PARTS = TESTS | _set("train training tr val valid validation dev")
"""Of the parts that a data set is divided into."""

SCANS = _set(
    "image images img imgs scan scans volume volumes vol case cases patient patients pat subject "
    "subjects subj sub data file files reference ref ground gold standard binary"
)
"""Of scans and cases, and others that say nothing of what a mask shows."""

SITES = _set("site sites centre center centers centres hospital clinic scanner vendor institution")
"""Of where scans were made."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def words_of(name: str) -> list[str]:
    """Words and numbers of a name in small letters; `labelsTr_01` gives labels, tr, 01."""
    return [one.lower() for one in re.findall(_WORD, name)]


def names_a_mask(name: str) -> bool:
    """Whether a word of a file's or folder's name says that it holds masks."""
    return bool(MASKS.intersection(words_of(name)))


def names_a_part(name: str) -> bool:
    """Whether a folder's name says which part of the data set it holds, or of which site, alone."""
    found = words_of(name)
    return bool(found) and (PARTS.issuperset(found) or found[0] in SITES)


def names_many_scans(name: str) -> bool:
    """Whether a folder's name says that it holds scans of several cases: images, train, site_1."""
    found = words_of(name)
    return names_a_part(name) or (bool(found) and (PARTS | SCANS).issuperset(found))


def channel_word(name: str) -> tuple[str, str, str] | None:
    """What stands before and after the channel in a name, and the channel; None without one.

    `case1_t1` gives ("case1_", "", "t1"); of a number of four digits, as nnU-Net writes them, the
    channel is that number.
    """
    for pattern in (
        r"^(?P<before>(?:.*[_\-. ])?)(?P<word>[A-Za-z0-9]+)$",
        r"^(?P<word>[A-Za-z0-9]+)(?P<after>[_\-. ].*)$",
    ):
        found = re.match(pattern, name)
        if found and (found["word"].lower() in CHANNELS or re.fullmatch(r"000\d", found["word"])):
            fields = found.groupdict()
            return fields.get("before", ""), fields.get("after", ""), found["word"]
    return None
