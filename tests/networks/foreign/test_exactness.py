"""An imported encoder gives the features of the class that it is of, and no part is dropped."""

import pytest
import torch

from medssl.train.imported import rebuilt
from tests.networks.foreign.images import CASES as IMAGES
from tests.networks.foreign.originals import difference
from tests.networks.foreign.volumes import CASES as VOLUMES

CASES = {**VOLUMES, **IMAGES}

every_family = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


@every_family
@torch.no_grad()
def test_features_are_those_of_the_original_class(make, tmp_path):
    case = make(tmp_path)
    imported = rebuilt(case.path, case.family)
    found = case.ours(imported.network)(case.image)
    assert difference(case.features(case.image), found) <= 1e-5
    assert imported.report.share == 1
    assert imported.report.unexpected == imported.report.random == ()
