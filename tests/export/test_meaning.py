"""What a mask's values mean is read from a checkpoint or a data spec."""

import pytest

from medssl.errors import UsageError
from medssl.export.meaning import declared_labels
from tests.export.conftest import LABELS


def test_a_checkpoint_says_what_its_masks_mean(checkpoint):
    assert declared_labels(str(checkpoint)) == LABELS


def test_a_data_spec_says_it_too():
    assert [label.value for label in declared_labels("left_atrium")] == [1]


def test_a_name_that_is_neither_is_refused():
    with pytest.raises(UsageError, match="did you mean 'hippocampus'"):
        declared_labels("hipocampus")


def test_a_data_spec_without_labels_is_refused(tmp_path):
    spec = tmp_path / "bare.yaml"
    spec.write_text(
        "{title: Bare, modality: MR, channels: [t1], root: bare, layout: {kind: glob},"
        "licence: none, citation: none}"
    )
    with pytest.raises(UsageError, match="declares no labels"):
        declared_labels(str(spec))
