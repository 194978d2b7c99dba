"""Who trains, validates and tests: by patient, seeded, and written down.

Label budgets are nested: with one seed, the labelled cases of a smaller budget are among those of
every larger one, and so are the validation cases. The test cases depend on neither, unless
`split.test_seed` is null.
"""

import hashlib
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medssl.data.spec import Case
from medssl.data.split_settings import SplitSettings
from medssl.errors import DataError, UsageError
from medssl.keyed import own_key

ROLES = ("labelled", "unlabelled", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Case ids by role; no patient has two roles.

    Attributes:
        set_aside: the test cases while others are scored in their place; nothing sees them.
    """

    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int
    set_aside: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """16 hex characters over who has which role; neither order nor seed matters."""
        roles = [sorted(getattr(self, role)) for role in ROLES]
        return hashlib.sha256(json.dumps(roles).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Readable JSON, hash included."""
        return json.dumps({**asdict(self), "hash": self.hash}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Split":
        """The split that `to_json` wrote.

        Raises:
            DataError: the text is no split, or was changed since its hash was written.
        """
        try:
            plain: dict[str, Any] = json.loads(text)
            roles = {role: tuple(map(str, plain[role])) for role in ROLES}
            aside = tuple(map(str, plain.get("set_aside", ())))
            split = cls(seed=int(plain["seed"]), set_aside=aside, **roles)
            written = str(plain["hash"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise DataError("the split file is damaged", do="train anew") from None
        if written != split.hash:
            raise DataError(
                "the split file was changed by hand",
                f"its hash is {split.hash} and not {written} as written",
                "restore it or train anew",
            )
        return split


def make_split(cases: Sequence[Case], settings: SplitSettings, seed: int) -> Split:
    """The split that `settings` asks for.

    Test cases are those the data set declares, else `settings.test` labelled cases drawn with
    `settings.test_seed`, or `seed` where that is null. With `settings.rehearsal` they are set
    aside, and so many labelled cases of those left are the test. Of the patients left, in shuffled
    or in listed order, the first `settings.labels` labelled cases, or all where that is null, are
    the budget, and every 1/`settings.validation`-th of them validates, none where that is null.
    All later patients are unlabelled, whether a label exists or not. A patient whose cases the
    budget cuts through, and unlabelled cases of patients with another role, stay out.

    Raises:
        UsageError: the data set has fewer labelled cases than asked for, or none is left to train.
        DataError: the data set declares one patient both for training and for test.
    """
    draw = seed if settings.test_seed is None else settings.test_seed
    test = _declared_test(cases) or _drawn_test(cases, settings.test, "test", [draw])
    held = {case.patient for case in test} | {c.patient for c in cases if c.part == "test"}
    aside: list[Case] = []
    if settings.rehearsal:
        rest = [case for case in cases if case.patient not in held]
        aside, test = test, _drawn_test(rest, settings.rehearsal, "rehearsal", [draw, 1])
        held |= {case.patient for case in test}
    groups = _by_patient([case for case in cases if case.patient not in held])
    if settings.order == "shuffled":
        groups = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    labelled, validation, after = _budget(groups, settings)
    unlabelled = [case.id for group in after for case in group][: settings.unlabelled]
    return Split(
        tuple(labelled),
        tuple(unlabelled),
        tuple(validation),
        tuple(case.id for case in test),
        seed,
        tuple(case.id for case in aside),
    )


def verify(split: Split, cases: Sequence[Case], together: Collection[str] = ()) -> None:
    """Check a split against the cases it is used with.

    Args:
        together: roles that may share patients, e.g. labelled and unlabelled training images.

    Raises:
        DataError: a case is unknown or has two roles, or a patient has two roles.
    """
    patients = {case.id: case.patient for case in cases}
    ids: dict[str, str] = {}
    roles: dict[str, tuple[str, str]] = {}
    for role in ROLES:
        kind = "training" if role in together else role
        for name in getattr(split, role):
            if name not in patients:
                raise DataError(
                    f"case {name} of the split is not in the data set",
                    "files were renamed or removed since the split was made",
                    "restore them or train anew",
                )
            if name in ids:
                raise DataError(f"case {name} is both {ids[name]} and {role}", do="train anew")
            other, first = roles.setdefault(patients[name], (kind, name))
            if other != kind:
                raise DataError(
                    f"cases {first} ({other}) and {name} ({kind}) are of one patient",
                    "scores would be too good",
                    "train anew, so that a split by patient is made",
                )
            ids[name] = role


def patient_key(spec: str, patient: str) -> str:
    """16 hex characters for a patient of the data set named `spec`, from the user's key.

    Whoever has another key can neither guess the id nor compare.
    """
    return own_key().name_of("patient", f"{spec}/{patient}", 16)


def verify_unseen(
    tested: Sequence[Case],
    spec: str,
    seen: Collection[str],
    key: str,
    learnt_from: Collection[str],
) -> None:
    """Check that pre-training has seen no patient of the test cases.

    Patients are known by data set and id: one that two data specs name differently is not found.

    Args:
        spec: name of the data spec of `tested`.
        seen: `patient_key` of every patient in pre-training.
        key: name of the key that they were made with; empty of earlier ones, plain digests.
        learnt_from: names of the data specs of pre-training.

    Raises:
        DataError: a test patient was seen, or that cannot be told for lack of the key.
    """
    if tested and spec in learnt_from and key not in ("", own_key().name):
        raise DataError(
            f"it cannot be told whether the encoder has seen test cases of {spec}",
            f"patients in it are known by the key '{key}', and here is '{own_key().name}'",
            "set MEDSSL_KEY to a copy of the key file that it was pre-trained with",
        )
    before = set(seen)
    name_of = patient_key if key else _digest
    known = [case for case in tested if name_of(spec, case.patient) in before]
    if known:
        raise DataError(
            f"the encoder was pre-trained on the patients of {len(known)} of the {len(tested)} "
            f"test cases, e.g. {known[0].id}",
            "scores would be too good",
            "pre-train without the test cases, or test on others",
        )


def _digest(spec: str, patient: str) -> str:
    """As `patient_key` was before there were keys."""
    return hashlib.sha256(f"{spec}/{patient}".encode()).hexdigest()[:16]


def _declared_test(cases: Sequence[Case]) -> list[Case]:
    """The labelled cases that the data set itself declares as test."""
    declared = [case for case in cases if case.part == "test"]
    patients = {case.patient for case in declared}
    both = [case for case in cases if case.part != "test" and case.patient in patients]
    if both:
        raise DataError(
            f"the data set declares the patient of case {both[0].id} for training and for test",
            "scores would be too good",
            "correct the part of the patient's cases",
        )
    return [case for case in declared if case.label is not None]


def _drawn_test(cases: Sequence[Case], count: int, key: str, seed: list[int]) -> list[Case]:
    """At most `count` labelled cases, whole patients; fewer only where none fits.

    Args:
        key: of `split`, which gave the number.
    """
    groups = _by_patient([case for case in cases if case.label is not None])
    available = sum(map(len, groups))
    if count > available:
        raise UsageError(
            f"split.{key}={count} is more than the {available} labelled cases",
            "test cases need a label to be scored",
            f"lower split.{key}",
        )
    drawn: list[Case] = []
    for index in np.random.default_rng(seed).permutation(len(groups)):
        if len(drawn) + len(groups[index]) <= count:
            drawn += groups[index]
    chosen = {case.id for case in drawn}
    return [case for case in cases if case.id in chosen]


def _by_patient(cases: Sequence[Case]) -> list[list[Case]]:
    """Cases grouped by patient, in order of first appearance."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.patient, []).append(case)
    return list(groups.values())


def _budget(
    groups: Sequence[Sequence[Case]], settings: SplitSettings
) -> tuple[list[str], list[str], list[Sequence[Case]]]:
    """Labelled and validation ids of the budget, and the groups after it.

    Each patient's role follows from the patients before it alone, so that budgets nest.
    """
    labelled: list[str] = []
    validation: list[str] = []
    after: list[Sequence[Case]] = []
    seen = kept = 0
    for group in groups:
        names = [case.id for case in group if case.label is not None]
        room = len(names) if settings.labels is None else settings.labels - seen
        if not names or room <= 0:
            after.append(group)
            continue
        validates = math.floor((seen + 1) * (settings.validation or 0) + 0.5) > kept
        (validation if validates else labelled).extend(names[:room])
        kept += validates * len(names)
        seen += len(names)
    _must_suffice(settings, seen, labelled)
    return labelled, validation, after


def _must_suffice(settings: SplitSettings, seen: int, labelled: Sequence[str]) -> None:
    if not seen:
        raise UsageError(
            "no labelled case is left to train with",
            f"split.test={settings.test} takes them all"
            if settings.test
            else "no case has a label",
            "lower split.test" if settings.test else "add masks, for a start of a few cases",
        )
    if settings.labels is not None and seen < settings.labels:
        raise UsageError(
            f"split.labels={settings.labels} is more than the {seen} labelled training cases",
            "test cases are not counted",
            "lower split.labels or split.test",
        )
    if not labelled:
        raise UsageError(
            f"none of the {seen} labelled cases is left to train with",
            f"split.validation={settings.validation} keeps them for validation",
            "lower split.validation" + (" or raise split.labels" if settings.labels else ""),
        )
