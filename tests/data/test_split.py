import dataclasses
import hashlib
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medssl.data.layouts import find_cases
from medssl.data.spec import Case, load_spec
from medssl.data.split import ROLES, Split, make_split, patient_key, verify, verify_unseen
from medssl.data.split_settings import SplitSettings
from medssl.errors import DataError, UsageError
from medssl.keyed import own_key


def case(name: str, patient: str = "", labelled: bool = True, part: str | None = None) -> Case:
    return Case(name, patient or name, {}, Path(f"{name}.nii") if labelled else None, part=part)


def numbered(count: int, labelled: bool = True) -> list[Case]:
    prefix = "l" if labelled else "u"
    return [case(f"{prefix}{index:02d}", labelled=labelled) for index in range(count)]


@st.composite
def cohorts(draw: st.DrawFn) -> list[Case]:
    """Patients with one to three examinations, each labelled or not; four labelled at least."""
    sessions = draw(st.lists(st.lists(st.booleans(), min_size=1, max_size=3), max_size=12))
    sessions += [[True]] * 4
    return [
        case(f"{patient}_{index}", str(patient), labelled)
        for patient, labels in enumerate(sessions)
        for index, labelled in enumerate(labels)
    ]


@settings(deadline=None, max_examples=60)
@given(cohorts(), st.integers(0, 3), st.integers(0, 2))
def test_no_patient_has_two_roles(cases: list[Case], seed: int, test: int) -> None:
    split = make_split(cases, SplitSettings(labels=2, test=test, validation=0.4), seed)
    verify(split, cases)
    patient = {one.id: one.patient for one in cases}
    groups = [{patient[name] for name in getattr(split, role)} for role in ROLES]
    assert sum(map(len, groups)) == len(set().union(*groups))


@settings(deadline=None, max_examples=60)
@given(cohorts(), st.integers(0, 3), st.sampled_from(["shuffled", "listed"]))
def test_budgets_nest_in_both_roles(cases: list[Case], seed: int, order: str) -> None:
    budgets = [
        make_split(
            cases,
            SplitSettings.model_validate({"labels": n, "validation": 0.25, "order": order}),
            seed,
        )
        for n in (2, 3, 4)
    ]
    for small, large in pairwise(budgets):
        assert set(small.labelled) <= set(large.labelled)
        assert set(small.validation) <= set(large.validation)


@pytest.mark.parametrize(
    ("labels", "share", "expected"),
    [(4, 0.25, 1), (8, 0.25, 2), (16, 0.25, 4), (8, 0.0, 0), (2, 0.25, 1), (5, 0.5, 3)],
)
def test_validation_is_its_share_of_the_budget(labels: int, share: float, expected: int) -> None:
    split = make_split(numbered(20), SplitSettings(labels=labels, validation=share), 0)
    assert len(split.validation) == expected
    assert len(split.labelled) == labels - expected
    assert len(split.unlabelled) == 20 - labels


def test_listed_order_takes_the_first_of_the_list() -> None:
    cases = numbered(10)[::-1]
    chosen = SplitSettings(labels=4, validation=0.25, order="listed")
    split = make_split(cases, chosen, 3)
    assert split.labelled == ("l09", "l07", "l06")
    assert split.validation == ("l08",)
    assert split.unlabelled == ("l05", "l04", "l03", "l02", "l01", "l00")


def test_without_a_word_all_labelled_cases_train_and_none_is_kept_for_a_test() -> None:
    cases = numbered(8) + numbered(32, labelled=False)
    split = make_split(cases, SplitSettings(), 0)
    assert len(split.labelled) + len(split.validation) == 8
    assert (len(split.unlabelled), split.test) == (32, ())
    with pytest.raises(UsageError, match="no case has a label"):
        make_split(cases[8:], SplitSettings(), 0)


def test_seeds_shuffle_and_repeat() -> None:
    chosen = SplitSettings(labels=4)
    first, again, other = (make_split(numbered(30), chosen, seed) for seed in (0, 0, 1))
    assert first == again
    assert set(first.labelled) != set(other.labelled)


def test_drawn_test_cases_depend_neither_on_seed_nor_budget() -> None:
    splits = [
        make_split(numbered(40), SplitSettings(labels=labels, test=10), seed)
        for labels in (4, 16)
        for seed in (0, 1)
    ]
    assert len({split.test for split in splits}) == 1
    assert len(splits[0].test) == 10
    moved = make_split(numbered(40), SplitSettings(labels=4, test=10, test_seed=1), 0)
    assert moved.test != splits[0].test


def test_drawn_test_cases_follow_the_run_where_they_are_to() -> None:
    free = SplitSettings(labels=4, test=10, test_seed=None)
    for seed in (0, 1):
        fixed = free.model_copy(update={"test_seed": seed})
        assert make_split(numbered(40), free, seed) == make_split(numbered(40), fixed, seed)


@settings(deadline=None, max_examples=30)
@given(cohorts(), st.integers(0, 3))
def test_a_rehearsal_scores_other_cases_and_keeps_the_test_out_of_everything(
    cases: list[Case], seed: int
) -> None:
    chosen = SplitSettings(labels=1, test=1)
    real = make_split(cases, chosen, seed)
    split = make_split(cases, chosen.model_copy(update={"rehearsal": 1}), seed)
    patient = {one.id: one.patient for one in cases}
    assert split.set_aside == real.test
    held = {patient[name] for name in real.test}
    assert not held & {patient[name] for role in ROLES for name in getattr(split, role)}
    verify(split, cases)
    assert Split.from_json(split.to_json()) == split


def test_a_rehearsal_is_the_same_for_every_seed_and_budget() -> None:
    splits = [
        make_split(numbered(40), SplitSettings(labels=labels, test=10, rehearsal=12), seed)
        for labels in (4, 16)
        for seed in (0, 1)
    ]
    assert {(split.test, split.set_aside) for split in splits} == {
        (splits[0].test, make_split(numbered(40), SplitSettings(labels=4, test=10), 0).test)
    }
    assert len(splits[0].test) == 12
    with pytest.raises(UsageError, match=r"split\.rehearsal=31 is more than the 30 labelled"):
        make_split(numbered(40), SplitSettings(labels=4, test=10, rehearsal=31), 0)


def test_declared_test_cases_come_before_drawn_ones() -> None:
    cases = [*numbered(6), case("t1", part="test"), case("t2", labelled=False, part="test")]
    split = make_split(cases, SplitSettings(labels=2, test=3), 0)
    assert split.test == ("t1",)
    assert "t2" not in {name for role in ROLES for name in getattr(split, role)}


def test_labels_beyond_the_budget_count_as_unlabelled_and_may_be_capped() -> None:
    cases = numbered(5) + numbered(5, labelled=False)
    full = make_split(cases, SplitSettings(labels=2, validation=0), 0)
    assert len(full.unlabelled) == 8
    capped = make_split(cases, SplitSettings(labels=2, validation=0, unlabelled=3), 0)
    assert capped.unlabelled == full.unlabelled[:3]


def test_a_patient_cut_by_the_budget_stays_out() -> None:
    cases = [case("a1", "a"), case("a2", "a"), case("a3", "a", labelled=False), case("b")]
    split = make_split(cases, SplitSettings(labels=1, validation=0, order="listed"), 0)
    assert (split.labelled, split.unlabelled) == (("a1",), ("b",))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (SplitSettings(labels=9), "more than the 8 labelled"),
        (SplitSettings(labels=6, test=4), "more than the 4 labelled"),
        (SplitSettings(labels=1, test=9), r"split\.test=9 is more than the 8"),
        (SplitSettings(labels=1, validation=0.6), "none of the 1 labelled cases is left"),
        (SplitSettings(test=8), r"no labelled case is left to train with; split\.test=8 takes"),
    ],
)
def test_impossible_wishes_are_refused(chosen: SplitSettings, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_split(numbered(8) + numbered(4, labelled=False), chosen, 0)


def test_a_patient_declared_on_both_sides_is_refused() -> None:
    cases = [case("a1", "a", part="train"), case("a2", "a", part="test"), case("b")]
    with pytest.raises(DataError, match="patient of case a1"):
        make_split(cases, SplitSettings(labels=1), 0)


def test_json_keeps_everything() -> None:
    split = make_split(numbered(12), SplitSettings(labels=4, test=3), 5)
    assert Split.from_json(split.to_json()) == split


def test_a_split_edited_by_hand_is_refused() -> None:
    plain = json.loads(make_split(numbered(12), SplitSettings(labels=4, test=3), 5).to_json())
    plain["labelled"].append(plain["test"].pop())
    with pytest.raises(DataError, match="changed by hand"):
        Split.from_json(json.dumps(plain))
    with pytest.raises(DataError, match="damaged"):
        Split.from_json("{}")
    with pytest.raises(DataError, match="damaged"):
        Split.from_json(json.dumps({**plain, "seed": float("inf")}))
    with pytest.raises(DataError, match="damaged"):
        Split.from_json("[" * 100_000)


def test_the_hash_is_of_roles_alone() -> None:
    split = Split(("a", "b"), ("c",), (), ("d",), seed=0)
    assert dataclasses.replace(split, labelled=("b", "a"), seed=7).hash == split.hash
    assert dataclasses.replace(split, labelled=("a",), test=("b", "d")).hash != split.hash


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split(("a1",), ("a2",), (), (), 0), "one patient"),
        (Split(("b",), (), (), ("b",), 0), "b is both labelled and test"),
        (Split(("z",), (), (), (), 0), "z of the split is not in the data set"),
    ],
)
def test_verify_finds_what_leaks(split: Split, message: str) -> None:
    with pytest.raises(DataError, match=message):
        verify(split, [case("a1", "a"), case("a2", "a"), case("b")])


def test_the_published_order_of_the_real_set(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(shared_data))
    cases = find_cases(load_spec("left_atrium"))
    chosen = SplitSettings(labels=8, validation=0, order="listed")
    split = make_split(cases, chosen, 0)
    lines = (shared_data / "left_atrium" / "train.list").read_text().split()
    assert list(split.labelled) == lines[:8]
    assert list(split.unlabelled) == lines[8:]
    assert len(split.test) == 20


def test_patients_are_known_to_pretraining_by_data_set_and_id_without_showing_it():
    key = patient_key("lgg", "p1")
    assert key == own_key().name_of("patient", "lgg/p1", 16)
    assert key != hashlib.sha256(b"lgg/p1").hexdigest()[:16]  # which anybody could guess
    assert key != patient_key("ms", "p1")
    tested = [case("c1", "c"), case("c2", "c")]

    def verified(*seen, key=None):
        key = own_key().name if key is None else key
        verify_unseen(tested, "lgg", seen, key, ["lgg", "ms"])

    verified(patient_key("lgg", "a"), patient_key("ms", "c"))
    with pytest.raises(DataError, match=r"patients of 2 of the 2 test cases, .* c1"):
        verified(patient_key("lgg", "c"))
    plain = hashlib.sha256(b"lgg/c").hexdigest()[:16]  # as earlier encoders have them
    with pytest.raises(DataError, match="2 of the"):
        verified(plain, key="")
    with pytest.raises(DataError, match=r"cannot be told .*known by the key 'other'.*MEDSSL_KEY"):
        verified(key="other")
    verify_unseen(tested, "lgg", [], "other", ["ms"])
