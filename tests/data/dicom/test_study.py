"""A study folder: series are found by their content, and the one that a network wants is chosen."""

import numpy as np
import pydicom
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.uid import (
    ComprehensiveSRStorage,
    MRImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from medssl.data.dicom.choice import UndecidedError, Wanted, choose
from medssl.data.dicom.contents import candidates_in
from medssl.data.dicom.facts import facts_of
from medssl.data.dicom.grids import Grids
from medssl.data.dicom.rule import SeriesRule
from medssl.data.dicom.study import names_of, studies_in
from medssl.data.geometry import Geometry
from medssl.data.volume import volume_of
from tests.data.dicom.conftest import TWELVE

MR = {"SOPClassUID": MRImageStorage, "Modality": "MR"}
FINE = Grids.of([Geometry((4, 3, 4), np.diag([0.5, 2, 3, 1.0]))])


@pytest.fixture
def series(tmp_path, write):
    """Writes a series of four slices; names of files say nothing."""

    def make(folder="heap", count=4, step=3.0, **header):
        uid = str(header.pop("SeriesInstanceUID", generate_uid()))
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            own = {"SeriesInstanceUID": uid, "InstanceNumber": number + 1}
            told = {**MR, **own, "StudyInstanceUID": "1.2", **header}
            write(place / f"{uid[-12:]}{number}", number * step, TWELVE + number, **told)
        return uid

    return make


def chosen(folder, channels=("t1",), **wanted):
    (study,) = studies_in(folder)
    return choose(candidates_in(study), Wanted("MR", channels, **wanted), "study")


def told(found):
    return {one.candidate.facts.description: one.reason for one in found.decisions}


@pytest.mark.parametrize("heap", [True, False])
def test_series_are_told_apart_by_content_wherever_they_lie(tmp_path, series, heap):
    for number, name in enumerate(("T1", "T2", "FLAIR")):
        series("heap" if heap else f"{number}", SeriesDescription=name, SeriesNumber=number)
    (tmp_path / "README.txt").write_text("no DICOM")
    found = chosen(tmp_path)
    assert [str(one) for one in found.decisions] == [
        "series 0, T1, MR, 4 slices of 4 x 3, 0.5 x 2 x 3 mm: taken as t1",
        "series 1, T2, MR, 4 slices of 4 x 3, 0.5 x 2 x 3 mm: not taken, it shows T2, and the "
        "channel is t1",
        "series 2, FLAIR, MR, 4 slices of 4 x 3, 0.5 x 2 x 3 mm: not taken, it shows FLAIR, and "
        "the channel is t1",
    ]
    assert volume_of(found.series, "study").array.shape == (1, 4, 3, 4)


def test_studies_in_one_heap_are_apart(tmp_path, series):
    for number in range(2):
        series(StudyInstanceUID=f"1.{number}")
    one, other = studies_in(tmp_path)
    assert one.folder == other.folder == tmp_path / "heap"
    assert one.key != other.key
    assert len(one.files) == len(other.files) == 4


def test_a_slice_that_names_no_study_belongs_to_that_of_its_series(tmp_path, series):
    series(StudyInstanceUID="1.1", SeriesInstanceUID="1.1.5")
    path = sorted((tmp_path / "heap").iterdir())[2]
    header = pydicom.dcmread(path)
    del header.StudyInstanceUID
    header.save_as(path)
    (study,) = studies_in(tmp_path)
    assert len(study.files) == 4


def test_a_series_is_not_torn_by_a_slice_that_names_another_study(tmp_path, series):
    uid = series()
    first = min((tmp_path / "heap").glob(f"{uid[-12:]}*"))
    odd = dcmread(first)
    odd.StudyInstanceUID = "1.3"
    dcmwrite(first, odd)
    (study,) = studies_in(tmp_path)
    assert (len(study.files), study.series) == (4, 1)


def test_scans_of_two_patients_stay_apart_though_their_series_has_one_name(tmp_path, series):
    for number in range(2):
        named = {"StudyInstanceUID": f"1.{number}", "PatientID": f"ID{number}"}
        series(f"{number}", SeriesInstanceUID="9.9", **named)
    assert [(one.folder.name, len(one.files)) for one in studies_in(tmp_path)] == [
        ("0", 4),
        ("1", 4),
    ]


def test_follow_ups_that_share_a_series_are_studies_of_their_own(tmp_path, series):
    for number in range(2):
        header = {"StudyInstanceUID": f"1.{number}", "StudyDate": f"2024010{number + 1}"}
        series("heap", SeriesInstanceUID=f"9.{'9' * 20}", PatientID="ID", **header)
        for path in (tmp_path / "heap").glob("9*"):
            path.rename(path.with_name(f"{number}{path.name}"))
    found = studies_in(tmp_path)
    assert [len(one.files) for one in found] == [4, 4]
    assert {path.name[0] for path in found[0].files} != {path.name[0] for path in found[1].files}


def test_follow_ups_that_share_study_and_series_are_volumes_of_their_own(tmp_path, series):
    for number, step in enumerate((3.0, 3.5)):
        header = {"StudyDate": f"2024010{2 - number}", "FrameOfReferenceUID": f"5.{number}"}
        series(f"{number}", step=step, SeriesInstanceUID="9.9", SeriesDescription="T1", **header)
    with pytest.raises(UndecidedError, match=r"T1, examination 1, .*, examination 2") as refused:
        chosen(tmp_path)
    assert "part=REGEX" in refused.value.do
    found = chosen(tmp_path, rules={"t1": SeriesRule(part="examination 1")})
    assert found.series[0].geometry.spacing[2] == pytest.approx(3.5)


@pytest.mark.parametrize("start", [0.0, 1.5, 12.0])
def test_what_may_be_two_examinations_is_not_joined_to_one_scan(tmp_path, series, write, start):
    """Where dates and frames of reference are taken out, the studies alone tell."""
    told = {"SeriesInstanceUID": "9.9", "SeriesDescription": "T1", "PatientID": "ID"}
    told["FrameOfReferenceUID"] = None
    series("0", StudyInstanceUID="1.0", **told)
    (tmp_path / "1").mkdir()
    for number in range(4):
        place = tmp_path / "1" / f"{number}"
        write(place, start + 3 * number, TWELVE, **{**MR, **told, "StudyInstanceUID": "1.1"})
    with pytest.raises(UndecidedError) as refused:
        chosen(tmp_path)
    (reason,) = [one.reason for one in refused.value.decisions]
    assert "two examinations that share one SeriesInstanceUID" in reason


def test_a_series_that_was_torn_between_studies_is_one_scan(tmp_path, series):
    """As after a correction in the archive: date and frame of reference are one."""
    series(count=6, SeriesInstanceUID="9.9", StudyDate="20240101", FrameOfReferenceUID="5.1")
    for path in sorted((tmp_path / "heap").iterdir())[:2]:
        odd = dcmread(path)
        odd.StudyInstanceUID = "1.3"
        dcmwrite(path, odd)
    assert chosen(tmp_path).series[0].geometry.shape[2] == 6


def test_series_of_two_patients_are_told_without_a_name(tmp_path, series):
    for number in (1, 2):
        series(SeriesDescription="T1", PatientID=f"AAA{number}", SeriesNumber=number)
    with pytest.raises(
        UndecidedError, match="study holds series of 2 patients that may"
    ) as refused:
        chosen(tmp_path)
    assert "predict the series of each patient by themselves" in str(refused.value)
    assert "AAA" not in str(refused.value)


def test_channels_of_two_patients_are_refused(tmp_path, series):
    series(SeriesDescription="T1", PatientID="AAA")
    series(SeriesDescription="FLAIR", PatientID="BBB")
    with pytest.raises(UndecidedError, match="series of several patients") as refused:
        chosen(tmp_path, ("t1", "flair"))
    assert "AAA" not in str(refused.value)
    assert len(chosen(tmp_path).series) == 1  # one channel is of one patient


def test_what_is_called_alike_is_not_said_to_be_told_apart_by_a_part(tmp_path, series):
    for count in (4, 5):
        series(SeriesDescription="T1", count=count)
    with pytest.raises(UndecidedError, match="put the one that is meant into a folder of its own"):
        chosen(tmp_path)


def test_what_holds_no_scan_is_refused_with_the_reason(tmp_path, series):
    series(SeriesDescription="T1")
    series(SeriesDescription="scan", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    series(SeriesDescription="3-plane loc")
    series(SeriesDescription="T1 MIP", ImageType=["DERIVED", "SECONDARY", "MIP"])
    series(SeriesDescription="map", ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"])
    series(SeriesDescription="CT", Modality="CT")
    series(SeriesDescription="page", SOPClassUID=SecondaryCaptureImageStorage, count=1)
    series(SeriesDescription="words", SOPClassUID=ComprehensiveSRStorage, Modality="SR", count=1)
    reasons = told(chosen(tmp_path))
    assert reasons == {
        "T1": "",
        "scan": "it is a localiser",
        "3-plane loc": "it is a localiser",
        "T1 MIP": "it is a projection of other images (MIP)",
        "map": "it is computed from other images (ADC)",
        "CT": "its modality is CT, and training saw MR",
        "page": "it is a secondary capture, a picture of a screen or of a page",
        "words": "it is a Comprehensive SR, which holds no scan",
    }


def test_a_series_of_a_grid_like_those_of_training_goes_before_its_description(tmp_path, series):
    series(SeriesDescription="T1 thick", step=9)
    series(SeriesDescription="crop", ImageType=["DERIVED", "SECONDARY", "AXIAL"])
    found = chosen(tmp_path, grids=FINE)
    assert told(found) == {
        "crop": "it is derived from other images, as no original fits",
        "T1 thick": "it has voxels of 0.5 x 2 x 9 mm, and training saw 0.5 x 2 x 3 mm",
    }


def test_a_grid_unlike_those_of_training_is_taken_where_there_is_no_other(tmp_path, series):
    series(SeriesDescription="T1 thick", step=9)
    found = chosen(tmp_path, grids=FINE)
    assert len(found.series) == 1
    assert "training saw 0.5 x 2 x 3 mm" in found.decisions[0].reason


DERIVED = ["DERIVED", "SECONDARY", "AXIAL"]


def test_what_is_derived_is_refused_where_an_original_fits(tmp_path, series):
    series(SeriesDescription="T1", ImageType=["ORIGINAL", "PRIMARY"])
    series(SeriesDescription="T1 again", ImageType=DERIVED)
    reasons = told(chosen(tmp_path, grids=FINE))
    assert reasons == {
        "T1": "",
        "T1 again": "it is derived from other images, and an original fits",
    }
    rules = {"t1": SeriesRule(description="^t1")}  # names both
    assert told(chosen(tmp_path, rules=rules)) == reasons


@pytest.mark.parametrize("other", [{"step": 9}, {"SeriesDescription": "T2"}])
def test_what_is_derived_is_taken_where_no_original_fits_and_that_is_said(tmp_path, series, other):
    series(**{"SeriesDescription": "T1", "ImageType": ["ORIGINAL", "PRIMARY"], **other})
    series(SeriesDescription="T1 crop", ImageType=DERIVED)
    found = chosen(tmp_path, grids=FINE)
    assert [one.channel for one in found.decisions if one.candidate.facts.derived] == ["t1"]
    assert told(found)["T1 crop"] == "it is derived from other images, as no original fits"


def test_several_derived_series_are_not_guessed_among(tmp_path, series):
    for name in ("T1 crop", "T1 reformatted"):
        series(SeriesDescription=name, ImageType=DERIVED)
    with pytest.raises(UndecidedError, match="2 series that may be the channel"):
        chosen(tmp_path)


@pytest.mark.parametrize(
    "rule", [{"description": "crop$"}, {"number": 7}, {"image_type": ["DERIVED"]}]
)
def test_what_is_derived_is_taken_where_a_rule_names_it_and_that_is_said(tmp_path, series, rule):
    series(SeriesDescription="T1", SeriesNumber=3, ImageType=["ORIGINAL", "PRIMARY"])
    series(SeriesDescription="T1 crop", SeriesNumber=7, ImageType=DERIVED)
    found = chosen(tmp_path, rules={"t1": SeriesRule.model_validate(rule)})
    words = "it is derived from other images, as the rule of t1 wants it"
    assert told(found)["T1 crop"] == words
    assert found.decisions[1].channel == "t1"


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "it is a localiser"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "it is a secondary capture"),
        ({"SOPClassUID": MultiFrameGrayscaleByteSecondaryCaptureImageStorage}, "it is a secondary"),
    ],
)
def test_localisers_and_secondary_captures_are_refused_though_they_are_all_there_is(
    tmp_path, series, header, why
):
    series(SeriesDescription="T1", SeriesNumber=1, **header)
    rules = {"t1": SeriesRule(description="t1", number=1)}
    with pytest.raises(UndecidedError, match="no series for the channel 't1'") as refused:
        chosen(tmp_path, rules=rules)
    assert {one.reason[: len(why)] for one in refused.value.decisions} == {why}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", [["ORIGINAL", "PRIMARY", "LOCALIZER"], DERIVED])
def test_volumes_of_a_series_are_judged_each_by_its_own_kind(tmp_path, series, kind, first):
    """As a scout in the series of a CT, or maps beside their images."""
    uid = generate_uid()
    for number in (0, 1):
        odd = bool(number) != first
        series(
            f"{number}", SeriesInstanceUID=uid, SeriesDescription="T1",
            ImageType=kind if odd else ["ORIGINAL", "PRIMARY", "AXIAL"],
        )  # fmt: skip
    found = chosen(tmp_path)
    (taken,) = [one.candidate for one in found.decisions if one.channel]
    (other,) = [one for one in found.decisions if not one.channel]
    assert taken.facts.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert other.reason.startswith("it is derived" if kind == DERIVED else "it is a localiser")


def test_contrast_agent_tells_two_channels_apart(tmp_path, series):
    series(SeriesDescription="T1")
    series(SeriesDescription="T1", ContrastBolusAgent="gadolinium", SeriesNumber=9)
    series(SeriesDescription="T2 FLAIR")
    found = chosen(tmp_path, ("flair", "t1", "t1c"))
    taken = {one.channel: one.candidate for one in found.decisions}
    assert set(taken) == {"flair", "t1", "t1c"}
    assert (taken["t1"].facts.agent, taken["t1c"].facts.agent) == (False, True)
    assert found.series[2] == taken["t1c"].series


@pytest.mark.parametrize(
    ("times", "kind"),
    [((500, 10, 0), "t1"), ((4000, 90, 0), "t2"), ((9000, 90, 2500), "flair")],
)
def test_where_no_word_says_the_contrast_its_times_do(tmp_path, series, times, kind):
    repetition, echo, inversion = times
    series(
        SeriesDescription="axial", RepetitionTime=repetition, EchoTime=echo, InversionTime=inversion
    )
    assert candidates_in(studies_in(tmp_path)[0])[0].contrast == kind


def test_what_cannot_be_told_is_not_guessed(tmp_path, series):
    for number in (3, 5):
        series(SeriesDescription="T1", SeriesNumber=number)
    sentence = r"study has 2 series that may be the channel 't1'; series 3, T1.*--set series\.t1\."
    with pytest.raises(UndecidedError, match=sentence) as refused:
        chosen(tmp_path)
    assert {one.reason for one in refused.value.decisions} == {"others are as good"}
    found = chosen(tmp_path, rules={"t1": SeriesRule(number=5)})
    assert told(found)["T1"] in ("", "the rule of t1 wants series 3")
    assert [one.channel for one in found.decisions] == ["", "t1"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"description": "sag.*t1"}, "the description 'sag.*t1'"),
        ({"without": "ax"}, "no description 'ax'"),
        ({"agent": False}, "no contrast agent"),
        ({"slice_mm": 4}, "slices at most 4.0 mm apart, and these are 9 mm"),
        ({"image_type": ["norm"]}, "the image type NORM"),
    ],
)
def test_rules_of_the_data_spec_decide(tmp_path, series, rule, words):
    series(SeriesDescription="Sag T1", ImageType=["ORIGINAL", "NORM"])
    series(SeriesDescription="Ax T1", ContrastBolusAgent="yes", step=9, ImageType=["ORIGINAL"])
    found = chosen(tmp_path, rules={"t1": SeriesRule.model_validate(rule)})
    assert told(found) == {"Sag T1": "", "Ax T1": f"the rule of t1 wants {words}"}


def test_a_map_is_taken_where_a_rule_asks_for_it(tmp_path, series):
    series(SeriesDescription="x", ImageType=["DERIVED", "PRIMARY", "PERFUSION", "CBV"])
    rules = {"cbv": SeriesRule(image_type=("CBV", "PERFUSION"))}
    assert len(chosen(tmp_path, ("cbv",), rules=rules).series) == 1


@pytest.mark.parametrize(
    ("keyword", "values", "words"),
    [
        ("EchoTime", (10, 80), "echo time 80"),
        ("DiffusionBValue", (0.0, 1000.0), "b-value 1000"),
        ("TemporalPositionIdentifier", (1, 2), "phase 2"),
        ("AcquisitionNumber", (1, 2), "acquisition 2"),
    ],
)
def test_volumes_in_one_series_are_told_apart_by_their_tags(
    tmp_path, series, keyword, values, words
):
    uid = generate_uid()
    for number, value in enumerate(values):
        series(f"{number}", SeriesInstanceUID=uid, SeriesDescription="many", **{keyword: value})
    with pytest.raises(UndecidedError, match=f"{words}.*part=REGEX"):
        chosen(tmp_path)
    found = chosen(tmp_path, rules={"t1": SeriesRule(part=f"^{words}$")})
    assert len(found.series[0].slices) == 4
    (taken,) = [one.candidate for one in found.decisions if one.channel]
    assert taken.part == words
    assert {dcmread(file)[keyword].value for file in found.series[0].files} == {values[1]}


def test_what_no_tag_tells_apart_is_refused(tmp_path, series):
    uid = generate_uid()
    for number in range(2):
        series(f"{number}", SeriesInstanceUID=uid, SeriesDescription="twice")
    with pytest.raises(UndecidedError, match="no series for the channel") as refused:
        chosen(tmp_path)
    assert "several slices at one position" in refused.value.decisions[0].reason


def test_slices_that_were_copied_count_once(tmp_path, series):
    series("a", SeriesDescription="T1")
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "a").iterdir():
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    found = chosen(tmp_path)
    assert len(found.series[0].slices) == 4
    assert found.decisions[0].reason == "4 slices are there more than once"


@pytest.mark.parametrize(
    ("lost", "stated", "words"),
    [
        ([], 4, ""),
        ([3], 4, "its acquisition had 4 images, and 3 are here: an end may be lacking"),
        ([3], None, ""),  # nothing tells it
        ([0, 1], None, "its slices are numbered from 3 to 4: the first 2 may be lacking"),
        ([], 3, ""),  # an acquisition of which the series holds more
    ],
)
def test_ends_that_may_be_lacking_are_told(tmp_path, series, lost, stated, words):
    header = {} if stated is None else {"ImagesInAcquisition": stated}
    series("a", SeriesDescription="T1", **header)
    for number in lost:
        sorted((tmp_path / "a").iterdir())[0 if number < 2 else -1].unlink()
    assert chosen(tmp_path).decisions[0].reason == words


def test_a_copy_may_be_compressed_another_way(tmp_path, series):
    series("a", SeriesDescription="T1")
    first = min((tmp_path / "a").iterdir())
    copy = dcmread(first)
    copy.compress(RLELossless, generate_instance_uid=False)
    copy.save_as(tmp_path / "a" / "copy")
    found = chosen(tmp_path)
    assert len(found.series[0].slices) == 4
    assert found.decisions[0].reason == "1 slice is there more than once"


def test_slices_of_one_identity_at_other_places_are_no_copies(tmp_path, series):
    series(SeriesDescription="T1", SOPInstanceUID="1.2.9")
    found = chosen(tmp_path)
    assert len(found.series[0].slices) == 4
    assert found.decisions[0].reason == ""


def test_slices_of_one_identity_and_place_with_other_values_are_refused(tmp_path, series):
    series(SeriesDescription="T1")
    first = min((tmp_path / "heap").iterdir())
    other = dcmread(first)
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(tmp_path / "heap" / "other")
    with pytest.raises(UndecidedError) as refused:
        chosen(tmp_path)
    assert "several slices at one position" in str(refused.value.decisions[0])


def test_a_scout_in_the_series_is_a_volume_by_itself(tmp_path, series):
    uid = generate_uid()
    series(SeriesInstanceUID=uid, SeriesDescription="T1")
    series(
        "b", 1, SeriesInstanceUID=uid, SeriesDescription="T1",
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    )  # fmt: skip
    found = chosen(tmp_path, grids=FINE)
    assert len(found.series[0].slices) == 4
    assert sorted(len(one.candidate.series.slices) for one in found.decisions) == [1, 4]


@pytest.mark.parametrize(
    "odd", [{"PixelSpacing": [2.0, 1.0]}, {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]}]
)
def test_a_splinter_of_a_series_that_cannot_be_used_is_no_scan(tmp_path, series, odd):
    """One header is damaged: the other slices have a gap, and the one is no volume by itself."""
    series(count=5, SeriesDescription="T1")
    path = sorted((tmp_path / "heap").iterdir())[2]
    spoilt = dcmread(path)
    for keyword, value in odd.items():
        setattr(spoilt, keyword, value)
    dcmwrite(path, spoilt)
    with pytest.raises(UndecidedError, match="no series for the channel 't1'") as refused:
        chosen(tmp_path)
    gap, splinter = (one.reason for one in refused.value.decisions)
    assert "lacks slices after slice 2 of 4" in gap
    assert splinter == "it is the smaller part of a series whose larger part cannot be used"


def test_a_number_of_several_values_is_none():
    """The first of them may be that of another series."""
    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.SeriesNumber, header.EchoTime = ["0", "4"], [10, 20]
    found = facts_of(header)
    assert found.number is None
    assert found.times[1] is None
    header.SeriesNumber = "4"
    assert facts_of(header).number == 4


@pytest.mark.parametrize("text", ["T1 Doe", "JANE^DOE T1", "T1 SECRET", "T1 19700101", "T1 A77123"])
def test_descriptions_that_name_the_patient_are_shown_without_it(tmp_path, series, text):
    series(
        SeriesDescription=text, PatientBirthDate="19700101", AccessionNumber="A77123"
    )  # of Doe^Jane, SECRET
    (line,) = map(str, chosen(tmp_path).decisions)
    assert "..." in line
    assert not any(word in line.lower() for word in ("doe", "jane", "secret", "1970", "77123"))


def test_a_study_with_an_unreadable_series_keeps_the_others(tmp_path, series, write):
    series(SeriesDescription="T1")
    one = write(tmp_path / "bad", SeriesInstanceUID="1.9", StudyInstanceUID="1.2", **MR)
    broken = dcmread(one)
    del broken.PixelSpacing
    dcmwrite(one, broken)
    reasons = {one.reason for one in chosen(tmp_path).decisions}
    assert reasons == {"", "bad lacks PixelSpacing; a slice must state it"}


def test_a_study_with_a_damaged_name_is_a_study(tmp_path, series):
    series("a", SeriesDescription="T1")
    for path in (tmp_path / "a").iterdir():
        raw = path.read_bytes()
        assert raw.count(b"\x10\0\x10\0PN") == 1
        path.write_bytes(raw.replace(b"\x10\0\x10\0PN", b"\x10\0\x10\0P\xff"))
    (study,) = studies_in(tmp_path)
    assert names_of([study], tmp_path) == [f"study_{study.key}"]
    assert names_of([study], tmp_path, keep_ids=True) == ["a"]


def test_a_series_whose_kind_is_damaged_is_named_with_the_reason(tmp_path, series):
    series("a")
    for path in (tmp_path / "a").iterdir():
        raw = path.read_bytes()
        assert raw.count(b"\x02\0\x02\0UI") == 1
        path.write_bytes(raw.replace(b"\x02\0\x02\0UI", b"\x02\0\x02\0U\t"))
    (study,) = studies_in(tmp_path)
    assert len(study.files) == len(list((tmp_path / "a").iterdir()))
    with pytest.raises(UndecidedError) as refusal:
        chosen(tmp_path)
    assert [
        "its header is cut off or damaged" in one.reason for one in refusal.value.decisions
    ] == [True]
