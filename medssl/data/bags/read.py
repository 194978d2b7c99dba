"""From cases of the layout `bags` to bags in memory."""

from collections.abc import Sequence

from medssl.data.bags.bag import Bag
from medssl.data.bags.instances import read_instances
from medssl.data.layouts import data_folder
from medssl.data.layouts.bags import Options
from medssl.data.spec import Case, DataSpec


def read_bags(spec: DataSpec, cases: Sequence[Case]) -> list[Bag]:
    """The bags of `cases`, in their order; features are [N, E] float32 as the file holds them.

    Raises:
        DataError: the file is missing or not laid out as described.
    """
    found = read_instances(data_folder(spec) / spec.layout.options(Options).file)
    return [
        Bag(case.id, case.patient, case.extra["class"], found.of(case.extra["index"]))
        for case in cases
    ]
