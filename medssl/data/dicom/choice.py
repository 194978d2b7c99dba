"""Which series of a study a network wants: one per channel, and why not the others.

What no network could use is refused first: other modalities, localisers, secondary captures,
projections, reports. Of the rest, series that a rule of the data spec excludes go, and those of
another contrast; then those whose grid is like none of training, as long as others are like it;
then what is derived from other images, as long as an original is left. What is still left must be
one: nothing is guessed. That it is derived is said of a series that is taken.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from medssl.data.dicom.contents import Candidate
from medssl.data.dicom.contrast import contrast_of_channel
from medssl.data.dicom.ends import may_lack
from medssl.data.dicom.grids import Grids
from medssl.data.dicom.rule import SeriesRule
from medssl.data.dicom.series import Series
from medssl.data.dicom.study import patient_in
from medssl.data.dicom.suv import SUV
from medssl.errors import DataError
from medssl.names import some_of


@dataclass(frozen=True)
class Wanted:
    """What a network was trained on.

    Attributes:
        rules: by channel; a channel may have none.
        grids: None where the checkpoint does not know them.
    """

    modality: str
    channels: tuple[str, ...]
    rules: Mapping[str, SeriesRule] = field(default_factory=dict)
    grids: Grids | None = None

    def rule(self, channel: str) -> SeriesRule:
        """What the data spec says of a channel's series."""
        return self.rules.get(channel, SeriesRule())


@dataclass(frozen=True)
class Decision:
    """What became of one candidate.

    Attributes:
        channel: that it is taken for; empty where it is not taken.
        reason: why it is not; of one that is taken, what should be known of it.
    """

    candidate: Candidate
    channel: str
    reason: str

    def __str__(self) -> str:
        if self.channel:
            return f"{self.candidate.name}: taken as {self.channel}"
        return f"{self.candidate.name}: not taken, {self.reason}"


@dataclass(frozen=True)
class Choice:
    """The series of each channel, in order, and what became of every candidate."""

    series: tuple[Series, ...]
    decisions: tuple[Decision, ...]


class UndecidedError(DataError):
    """The series of a channel cannot be told.

    Attributes:
        decisions: what was found out.
        several: whether several fit, and not none.
    """

    def __init__(
        self, decisions: Sequence[Decision], several: bool, what: str, why: str, do: str
    ) -> None:
        super().__init__(what, why, do)
        self.decisions, self.several = tuple(decisions), several


def choose(candidates: Sequence[Candidate], wanted: Wanted, name: str) -> Choice:
    """The series of each channel.

    Args:
        name: of the study, for messages.

    Raises:
        UndecidedError: a channel has no series, or several are equally good, or those of the
            channels name different patients.
    """
    taken: dict[int, tuple[str, str]] = {}
    reasons: dict[int, list[str]] = {}
    problem: tuple[bool, str, str, str] | None = None
    for channel in wanted.channels:
        left, said = _sieve(candidates, wanted, channel)
        left = [number for number in left if number not in taken]
        for number, reason in said.items():
            reasons.setdefault(number, []).append(reason)
        if len(left) == 1:
            taken[left[0]] = channel, _remark(candidates[left[0]], wanted, channel)
            continue
        for number in left:
            reasons.setdefault(number, []).append("others are as good")
        problem = problem or _problem(name, channel, [candidates[number] for number in left])
    decisions = [
        Decision(one, *taken[number])
        if number in taken
        else Decision(
            one, "", " and ".join(dict.fromkeys(reasons.get(number, ["it is not needed"])))
        )
        for number, one in enumerate(candidates)
    ]
    if problem is not None:
        raise UndecidedError(decisions, *problem)
    series = {channel: candidates[number].series for number, (channel, _) in taken.items()}
    found = tuple(one for c in wanted.channels if (one := series[c]))
    if len({name for one in found if (name := patient_in(one.files[0]))}) > 1:
        raise UndecidedError(
            decisions, True,
            f"{name} holds series of several patients",
            "its channels would be of different people",
            "predict the series of each patient by themselves",
        )  # fmt: skip
    return Choice(found, tuple(decisions))


def _sieve(
    candidates: Sequence[Candidate], wanted: Wanted, channel: str
) -> tuple[list[int], dict[int, str]]:
    """Numbers of the candidates that are left for a channel, and why each other is not."""
    rule, reasons = wanted.rule(channel), dict[int, str]()
    left = list(range(len(candidates)))

    def drop(reason: Callable[[Candidate], str], only_if_some_stay: bool) -> None:
        nonlocal left
        found = {number: reason(candidates[number]) for number in left}
        stay = [number for number in left if not found[number]]
        if stay or not only_if_some_stay:
            reasons.update({number: why for number, why in found.items() if why})
            left = stay

    drop(lambda one: one.facts.refused(wanted.modality, _types(rule, channel)), False)
    drop(lambda one: one.fault or ("" if one.series else "it holds no image"), False)
    drop(lambda one: _against(rule, one, channel), False)
    shown = contrast_of_channel(channel)
    if rule.description is None and rule.number is None:
        drop(lambda one: _other_contrast(one.contrast, shown, channel), False)
    drop(lambda one: _unlike(one, wanted.grids), True)
    for reason in (_less_sure(shown, channel), _derived):
        drop(reason, True)
    return left, reasons


def _types(rule: SeriesRule, channel: str) -> tuple[str, ...]:
    """Words of ImageType that are wanted, though they are refused of others."""
    own = contrast_of_channel(channel).upper()
    return (*(word.upper() for word in rule.image_type), *([own] if own == "ADC" else []))


def _against(rule: SeriesRule, one: Candidate, channel: str) -> str:
    """What a rule of the data spec says against a candidate."""
    facts, step = one.facts, one.series.geometry.spacing[2] if one.series else 0.0
    types = {word.upper() for word in rule.image_type} - set(facts.image_type)
    agent = facts.agent or one.contrast == "t1c"
    found = (
        (rule.number not in (None, facts.number), f"series {rule.number}"),
        (not _fits(rule.description, facts.words), f"the description '{rule.description}'"),
        (
            rule.without is not None and _fits(rule.without, facts.words),
            f"no description '{rule.without}'",
        ),
        (rule.agent not in (None, agent), f"{'a' if rule.agent else 'no'} contrast agent"),
        (bool(types), f"the image type {', '.join(sorted(types))}"),
        (not _fits(rule.part, one.part), f"'{rule.part}'"),
        (
            step > (rule.slice_mm or math.inf),
            f"slices at most {rule.slice_mm} mm apart, and these are {step:.3g} mm",
        ),
    )
    return next((f"the rule of {channel} wants {what}" for against, what in found if against), "")


def _fits(expression: str | None, text: str) -> bool:
    return expression is None or re.search(expression, text, re.IGNORECASE) is not None


def _other_contrast(found: str, shown: str, channel: str) -> str:
    """Reason against a series of a contrast that is surely another one."""
    near = ({found, shown} == {"t1", "t1c"}) or "" in (found, shown)
    return (
        "" if near or found == shown else f"it shows {_word(found)}, and the channel is {channel}"
    )


def _unlike(one: Candidate, grids: Grids | None) -> str:
    if grids is None or one.series is None:
        return ""
    told = grids.unlike(one.series.geometry)
    return f"it has {told}" if told else ""


def _less_sure(shown: str, channel: str) -> Callable[[Candidate], str]:
    def reason(one: Candidate) -> str:
        if not shown or one.contrast == shown:
            return ""
        said = (
            f"it shows {_word(one.contrast)}" if one.contrast else "it does not say what it shows"
        )
        return f"{said}, and another one shows {channel}"

    return reason


def _derived(one: Candidate) -> str:
    return "it is derived from other images, and an original fits" if one.facts.derived else ""


def _remark(one: Candidate, wanted: Wanted, channel: str) -> str:
    """What should be known of a series that is taken."""
    said = [_unlike(one, wanted.grids)]
    if one.facts.derived:
        named = wanted.rule(channel).names_series
        why = f"as the rule of {channel} wants it" if named else "as no original fits"
        said.append(f"it is derived from other images, {why}")
    unit = one.series.slices[0].unit if one.series else ""
    if unit not in ("", SUV):
        said.append(f"its values are no SUV, but {unit}")
    if one.series and not one.part:
        said.append(may_lack(one.series))
    if one.copies:
        slices = "slice is" if one.copies == 1 else "slices are"
        said.append(f"{one.copies} {slices} there more than once")
    return "; ".join(filter(None, said))


def _word(contrast: str) -> str:
    return {"t1c": "T1 with contrast agent", "t2star": "T2*"}.get(contrast, contrast.upper())


def _problem(name: str, channel: str, left: Sequence[Candidate]) -> tuple[bool, str, str, str]:
    if not left:
        return (
            False,
            f"{name} has no series for the channel '{channel}'",
            "each is refused for the reason that is told of it",
            "look at them, or name the series' own folder",
        )
    told = some_of([one.name for one in left])
    people = len({patient_in(one.paths[0]) for one in left} - {""})
    if people > 1:
        what = f"{name} holds series of {people} patients that may be the channel '{channel}'"
        return True, what, told, "predict the series of each patient by themselves"
    do = "they are called alike: put the one that is meant into a folder of its own and give that"
    for by, marks in (
        (
            f"description=REGEX or --set series.{channel}.number=NUMBER",
            {(one.facts.number, one.facts.texts) for one in left},
        ),
        ("part=REGEX", {one.part for one in left}),
    ):
        if len(marks) > 1:
            do = f"choose with --set series.{channel}.{by}, or by `series` in the data spec"
            break
    return True, f"{name} has {len(left)} series that may be the channel '{channel}'", told, do
