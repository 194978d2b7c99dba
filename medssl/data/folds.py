"""Folds of a cross-validation: stratified, whole patients, seeded."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from medssl.data.spec import Case
from medssl.data.split import Split, verify
from medssl.errors import UsageError

Contents = Mapping[str, Mapping[str, float]]
"""Case to how much its label shows of each class; a class that it does not show is left out."""


def leave_out(
    split: Split, cases: Sequence[Case], folds: int, contents: Contents, order: Sequence[str] = ()
) -> tuple[Split, ...]:
    """One split per fold of a cross-validation over the labelled cases of `split`.

    Patients are dealt out one after the other, each by its first case: to the fold that has fewest
    cases of the classes which that one shows, the rarest class first; of such folds to that with
    the fewest patients, and of such to that whose mean volume then is nearest to the mean of all so
    far. So each patient's fold follows from the patients before it alone, and with a smaller budget
    the rest are in the same folds. With fewer patients than folds, each is left out once. The cases
    of a fold are its test cases and have no part in its training, not even as unlabelled ones.

    Args:
        contents: of the labelled cases; those that it lacks are dealt out by their number alone.
        order: the labelled cases as they are dealt out; those of a smaller budget come first. As
            `split` has them unless given.

    Raises:
        UsageError: all labelled cases are of one patient.
    """
    patients = {case.id: case.patient for case in cases}
    owners = {patients[name] for name in split.labelled}
    if len(owners) < 2:
        raise UsageError(
            f"split.folds={folds} needs labelled cases of two patients or more",
            f"{len(split.labelled)} of one patient {'is' if len(split.labelled) == 1 else 'are'} "
            "left to train with",
            "raise split.labels or label another patient, or set split.folds=0",
        )
    found = []
    for held in _dealt(order or split.labelled, patients, contents, min(folds, len(owners))):
        patients_held = {patients[name] for name in held}
        test = tuple(name for name in split.labelled if name in held)
        rest = tuple(name for name in split.labelled if name not in held)
        unlabelled = tuple(n for n in split.unlabelled if patients[n] not in patients_held)
        found.append(Split(rest, unlabelled, split.validation, test, split.seed))
    return tuple(found)


def _dealt(
    order: Sequence[str], patients: Mapping[str, str], contents: Contents, folds: int
) -> list[set[str]]:
    """The cases that each fold leaves out."""
    fold_of: dict[str, int] = {}
    cases: list[set[str]] = [set() for _ in range(folds)]
    showing: list[Counter[str]] = [Counter() for _ in range(folds)]
    marked, patients_in = [0.0] * folds, [0] * folds
    for before, name in enumerate(order):
        content, patient = contents.get(name, {}), patients[name]
        own = sum(content.values())
        if patient not in fold_of:
            rarest_first = sorted(content, key=lambda one: sum(fold[one] for fold in showing))
            usual = (sum(marked) + own) / (before + 1)
            apart = [
                abs(m + own - usual * (len(c) + 1)) for m, c in zip(marked, cases, strict=True)
            ]
            fold_of[patient] = min(
                ([showing[fold][one] for one in rarest_first], patients_in[fold], apart[fold], fold)
                for fold in range(folds)
            )[-1]
            patients_in[fold_of[patient]] += 1
        fold = fold_of[patient]
        cases[fold].add(name)
        showing[fold].update(content.keys())
        marked[fold] += own
    return cases


def in_turn(names: Sequence[str], classes: Mapping[str, str]) -> list[str]:
    """Cases ordered so that the first of every class come first, then the second, and so on.

    So those of a smaller budget per class come before the rest, as `leave_out` wants it.
    """
    seen: Counter[str] = Counter()
    ranks = {}
    for name in names:
        ranks[name] = seen[classes[name]]
        seen[classes[name]] += 1
    return sorted(names, key=lambda name: ranks[name])


def shortcomings(folds: Sequence[Split], contents: Contents, asked: int) -> Iterator[str]:
    """What a user of a cross-validation should know, in sentences.

    Args:
        asked: number of folds that was asked for.
    """
    if folds and len(folds) < asked:
        yield (
            f"split.folds={asked} is more than the {len(folds)} labelled patients, so each of "
            "them is left out once"
        )
    for fold in folds:
        learnt = {one for name in fold.labelled for one in contents.get(name, ())}
        for name in fold.test:
            for one in sorted(contents.get(name, {}).keys() - learnt):
                learnt.add(one)
                yield (
                    f"no other labelled patient than that of case {name} has the class '{one}', so "
                    "the fold that leaves it out cannot learn it and scores it as missed; label "
                    "the class in another patient"
                )


def make_folds(
    cases: Sequence[Case], classes: Sequence[str], folds: int, validation: float, seed: int
) -> list[Split]:
    """The split of a model of all labelled cases, then one per fold of a cross-validation.

    Each fold keeps `validation` of its remaining patients for validation, and so does the model.
    Where the data set declares test cases, or `folds` is 0, there are no folds. Cases without a
    class are `unlabelled` in every split. Budgets do not exist here, so patients are dealt out all
    at once, at random within their class.

    Args:
        cases: `extra["class"]` is the index of the class, or None.
        seed: draws test folds and validation cases.

    Raises:
        UsageError: a class has fewer patients than there are folds.
    """
    labelled = [case for case in cases if case.extra.get("class") is not None]
    unlabelled = tuple(case.id for case in cases if case.extra.get("class") is None)
    declared = [case for case in labelled if case.part == "test"]
    tests: list[list[Case]] = [declared]
    if folds and not declared:
        _must_suffice(labelled, classes, folds, f"split.folds={folds}", "set split.folds={}")
        tests += stratified_parts(labelled, folds, seed)
    found = []
    for test in tests:
        held = {case.id for case in test}
        rest = [case for case in labelled if case.id not in held]
        chosen = _validation(rest, classes, validation, seed)
        train = tuple(case.id for case in rest if case.id not in chosen)
        kept = tuple(case.id for case in rest if case.id in chosen)
        split = Split(train, unlabelled, kept, tuple(case.id for case in test), seed)
        verify(split, cases)
        found.append(split)
    return found


def _validation(cases: Sequence[Case], classes: Sequence[str], share: float, seed: int) -> set[str]:
    if share == 0:
        return set()
    parts = max(2, round(1 / share))
    _must_suffice(cases, classes, parts, f"split.validation={share}", "set split.validation=0")
    return {case.id for case in stratified_parts(cases, parts, seed)[0]}


def stratified_parts(cases: Sequence[Case], count: int, seed: int) -> list[list[Case]]:
    """`count` parts of about equal size and class frequencies; no patient is in two of them.

    Args:
        cases: each with the index of its class in `extra["class"]`.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    labels = np.array([case.extra["class"] for case in cases])
    patients = np.array([case.patient for case in cases])
    drawn = splitter.split(np.zeros(len(cases)), labels, patients)
    return [[cases[index] for index in part] for _, part in drawn]


def _must_suffice(
    cases: Sequence[Case], classes: Sequence[str], parts: int, asked: str, nearest: str
) -> None:
    """Refuse more parts than the rarest class has patients; `nearest` takes the largest number."""
    owners = [
        {case.patient for case in cases if case.extra["class"] == index}
        for index in range(len(classes))
    ]
    count, name = min(zip(map(len, owners), classes, strict=True), key=lambda one: one[0])
    if count < parts:
        raise UsageError(
            f"{asked} needs {parts} patients of every class to train and test with",
            f"the class '{name}' has {count}",
            f"{nearest.format(count if count > 1 else 0)}, or add cases of '{name}'",
        )
