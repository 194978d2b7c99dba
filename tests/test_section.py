"""Given keys lie over what the owner of a part says, at every depth and wherever they come from."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

import medssl
from medssl.families.segment.config import SegmentPipeline
from medssl.networks.grader_settings import GraderSettings
from medssl.networks.image_fpn_settings import ImageFpnSettings
from medssl.networks.monai_grader_settings import MonaiGraderSettings
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.monai_slice_settings import MonaiSliceSettings
from medssl.networks.monai_tile_settings import MonaiTileSettings
from medssl.networks.primus_settings import PrimusSettings
from medssl.networks.settings import NetworkSettings
from medssl.networks.slice_settings import SliceEncoderSettings
from medssl.networks.tile_settings import TileEncoderSettings
from medssl.networks.unet_settings import UNetSettings
from medssl.section import Section, Triple
from medssl.settings import MethodChoice


class Rate(Section):
    start: float = 1.0
    end: float = 0.0
    steps: tuple[int, ...] = (1, 2)


class Optimiser(Section):
    name: str = "sgd"
    rate: Rate = Rate()
    decay: float = 0.5


class Loop(Section):
    """Starts its optimiser from other values than the optimiser's own, at two depths."""

    optimiser: Optimiser = Optimiser(name="adam", rate=Rate(start=3.0, end=2.0))
    warm: Rate | None = None
    cold: Rate | None = Rate(start=9.0)


class Run(Section):
    loop: Loop = Loop(optimiser=Optimiser(name="adamw", decay=0.1, rate=Rate(start=7.0)))


class Other(Loop):
    """An owner that inherits all but its own default of a part."""

    optimiser: Optimiser = Optimiser(name="lion", decay=0.2)


def test_one_key_leaves_its_siblings_as_the_owner_has_them() -> None:
    loop = Loop.model_validate({"optimiser": {"decay": 0.25}})
    assert loop.optimiser == Optimiser(name="adam", decay=0.25, rate=Rate(start=3.0, end=2.0))


def test_so_it_is_two_levels_down() -> None:
    loop = Loop.model_validate({"optimiser": {"rate": {"end": 0.125}}})
    assert loop.optimiser == Optimiser(name="adam", rate=Rate(start=3.0, end=0.125))


def test_the_outermost_owner_counts() -> None:
    run = Run.model_validate({"loop": {"optimiser": {"rate": {"end": 0.125}}}})
    assert run.loop.optimiser == Optimiser(name="adamw", decay=0.1, rate=Rate(start=7.0, end=0.125))


def test_a_subclass_with_a_default_of_its_own_is_the_owner() -> None:
    assert Other.model_validate({"optimiser": {"name": "x"}}).optimiser.decay == 0.2


def test_a_part_that_is_off_by_default_starts_from_its_own_class() -> None:
    assert Loop.model_validate({"warm": {"end": 5.0}}).warm == Rate(start=1.0, end=5.0)


def test_null_switches_an_optional_part_off_and_keys_start_from_the_owners() -> None:
    assert Loop.model_validate({"cold": None}).cold is None
    assert Loop.model_validate({"cold": {"end": 4.0}}).cold == Rate(start=9.0, end=4.0)


def test_a_part_that_is_not_optional_takes_no_null() -> None:
    with pytest.raises(ValidationError):
        Loop.model_validate({"optimiser": None})


def test_lists_are_replaced_and_not_merged() -> None:
    assert Rate.model_validate({"steps": [5]}).steps == (5,)


def test_a_whole_part_is_taken_as_it_is() -> None:
    assert Loop.model_validate({"optimiser": Optimiser()}).optimiser == Optimiser()
    assert Loop.model_validate(Loop(optimiser=Optimiser()).model_dump()).optimiser == Optimiser()


def test_a_part_with_free_keys_keeps_those_given_beside_the_owners_name() -> None:
    given = {"name": "a", "data": "b", "method": {"weight": 2}}
    method = SegmentPipeline.model_validate(given).method
    assert (method.name, method.own) == ("supervised", {"weight": 2})


@pytest.mark.parametrize("given", [True, False])
def test_true_and_false_are_no_numbers(given: bool) -> None:
    class Sizes(Section):
        patch: Triple = (8, 8, 8)
        steps: int = 3
        rate: float | None = None
        fast: bool = False

    assert Sizes.model_validate({"fast": given}).fast is given
    for wrong in ({"steps": given}, {"rate": given}, {"patch": [8, given, 8]}):
        with pytest.raises(ValidationError, match="no numbers"):
            Sizes.model_validate(wrong)


# --- every group of settings of the package


def every_section() -> Iterator[type[BaseModel]]:
    """All models of the package, those of files and checkpoints among them."""
    for module in pkgutil.walk_packages(medssl.__path__, "medssl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting: list[type[BaseModel]] = [BaseModel]
    found: dict[str, type[BaseModel]] = {}
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind.__module__.startswith("medssl."):
                found[f"{kind.__module__}.{kind.__qualname__}"] = kind
            waiting.append(kind)
    yield from found.values()


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for inner in get_args(annotation) for kind in models_in(inner)]


UNCHANGED = ("medssl.data.layouts.", "medssl.networks.foreign.")
"""Keys of layouts and of files of other projects, which start their parts as the parts' own
classes do: nothing lies beneath."""

OF_ANOTHER_KIND = {
    NetworkSettings: [UNetSettings, ImageFpnSettings, PrimusSettings, MonaiSettings],
    GraderSettings: [MonaiGraderSettings],
    TileEncoderSettings: [MonaiTileSettings],
    SliceEncoderSettings: [MonaiSliceSettings],
}
"""What may stand in place of a network that is the default."""

EVERY = list(every_section())
PARTS = [
    (owner, name)
    for owner in EVERY
    for name, field in owner.model_fields.items()
    if isinstance(field.default, BaseModel) and not owner.__module__.startswith(UNCHANGED)
]


def parts_started_otherwise() -> Iterator[str]:
    """Parts that an owner starts from other values than their own class does."""
    for owner, name in PARTS:
        default: BaseModel = owner.model_fields[name].default
        fields = type(default).model_fields.items()
        own = {key: field.get_default(call_default_factory=True) for key, field in fields}
        if not isinstance(default, MethodChoice) and dict(iter(default)) != own:
            yield identity((owner, name))


def identity(case: tuple[type[BaseModel], str]) -> str:
    return f"{case[0].__module__.removeprefix('medssl.')}.{case[0].__qualname__}.{case[1]}"


def leaves(part: BaseModel) -> Iterator[dict[str, Any]]:
    """One key of a part alone, or of a part within it, with the value that it has."""
    for key, value in part:
        if isinstance(value, BaseModel):
            yield from ({key: below} for below in leaves(value))
        else:
            yield {key: value}


def test_the_places_where_an_owner_starts_a_part_otherwise() -> None:
    assert sorted(parts_started_otherwise()) == [
        "families.grade.config.GradeTrainSettings.optimiser",
        "families.pretrain.config.PretrainTrainSettings.optimiser",
        "families.pretrain.config.TilePretrainSettings.optimiser",
        "families.slide.config.SlideTrainSettings.optimiser",
        "methods.settings.ad_mt.Settings.strong",
        "methods.settings.cps.Settings.cutmix",
        "methods.settings.cps.Settings.entropy",
        "methods.settings.cps.Settings.pseudo",
        "methods.settings.cps.Settings.translation",
        "methods.settings.joint2d3d.Settings.images",
        "methods.settings.joint2d3d.Settings.volumes",
        "methods.settings.modality_invariant.Settings.alpha",
        "methods.settings.modality_invariant.Settings.momentum",
        "methods.settings.multi_augs.Settings.strong",
        "methods.settings.unimatch.Settings.strong",
    ]


@pytest.mark.parametrize("case", PARTS, ids=identity)
def test_one_key_of_any_part_leaves_all_others_as_its_owner_has_them(
    case: tuple[type[BaseModel], str],
) -> None:
    owner, name = case
    default: BaseModel = owner.model_fields[name].default
    needed = {
        key: get_args(field.annotation)[0] if get_origin(field.annotation) is Literal else "x"
        for key, field in owner.model_fields.items()
        if field.is_required()
    }
    for given in leaves(default):
        assert getattr(owner.model_validate({**needed, name: given}), name) == default, given


@pytest.mark.parametrize("owner", EVERY, ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_no_part_escapes_the_rule(owner: type[BaseModel]) -> None:
    """Parts with defaults of their owner's lie in sections and are of one kind only.

    A network may be of another kind; to its keys the default gives way.
    """
    for name, field in owner.model_fields.items():
        default = field.default
        if isinstance(default, BaseModel) and not owner.__module__.startswith(UNCHANGED):
            assert issubclass(owner, Section), name
            assert isinstance(default, Section), name
            others = [kind for kind in models_in(field.annotation) if kind is not type(default)]
            assert others == OF_ANOTHER_KIND.get(type(default), []), name
        elif isinstance(default, BaseModel):
            assert default == type(default)(), name
        if isinstance(field.default, MethodChoice):
            assert not field.default.own, name
            assert field.default.preset is None, name
