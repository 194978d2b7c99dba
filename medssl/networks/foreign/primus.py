"""Files of nnssl's Primus, with the adaptation plan that says what the weights do not.

Source: sheets of foreign weights (sections 1.3 and T17) and of nnssl (section 3). Names are those
of the original. Heads and the grid of positions are in no tensor: they come from the plan, in the
checkpoint or beside it as adaptation_plan.json.
"""

from dataclasses import replace
from math import prod
from typing import Annotated, Any

from pydantic import BaseModel, Field
from torch import Tensor

from medssl.errors import DataError, UsageError
from medssl.networks.foreign.beside import checked, read_object
from medssl.networks.foreign.nnunet import OPENMIND
from medssl.networks.foreign.recognised import Family, Recognised, divided, shape_of, without
from medssl.networks.primus_settings import NAME, SIZES, Size
from medssl.networks.weights_file import WeightsFile

PROJ, POSITIONS = "down_projection.proj.weight", "eva.pos_embed"

PLAN = "adaptation_plan.json"

Side = Annotated[int, Field(ge=1, le=4096)]
Sides = Annotated[list[Side], Field(min_length=3, max_length=3)]


class _Configuration(BaseModel):
    patch_size: Sides | None = None


class _Pretraining(BaseModel):
    configurations: dict[str, _Configuration] = {}


class _Architecture(BaseModel):
    arch_class_name: str | None = None


class _Plan(BaseModel):
    """Of nnssl; the last two keys are those of its first version."""

    architecture_plans: _Architecture = _Architecture()
    pretrain_plan: _Pretraining = _Pretraining()
    recommended_downstream_patchsize: Sides | None = None
    architecture_name: str | None = None
    input_patch_size: Sides | None = None

    @property
    def architecture(self) -> str | None:
        return self.architecture_plans.arch_class_name or self.architecture_name

    @property
    def shapes(self) -> list[list[int]]:
        """Sides of images that the positions may be for, the surest first."""
        trained = [one.patch_size for one in self.pretrain_plan.configurations.values()]
        every = [*trained, self.input_patch_size, self.recommended_downstream_patchsize]
        return [one for one in every if one is not None]


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return without(tensors, "module.", "_orig_mod.")


def _fits(file: WeightsFile) -> bool:
    found = _plain(file.tensors)
    return PROJ in found and POSITIONS in found


def _renamed(name: str) -> str | None:
    return name if name.startswith(("down_projection.", "eva.", "register_tokens")) else None


def _plan(file: WeightsFile) -> _Plan:
    held = file.beside.get("nnssl_adaptation_plan")
    source = file.path if held is not None else file.path.parent / PLAN
    return checked(_Plan, read_object(source) if held is None else held, f"the plan in {source}")


def _size(file: WeightsFile, plan: _Plan, width: int, depth: int) -> Size:
    """The published size of that name, which the weights must have.

    Raises:
        UsageError: the plan names none.
        DataError: the weights are of another one.
    """
    known = ", ".join(SIZES)
    if plan.architecture is None:
        raise UsageError(
            f"{file.path} does not say which Primus it is",
            "the number of its heads is in no tensor",
            f"put its {PLAN} beside it, with one of {known} as arch_class_name",
        )
    size = SIZES.get(plan.architecture)
    if size is None or (size.width, size.depth) != (width, depth):
        raise DataError(
            f"{file.path} is no Primus that medssl can build",
            f"its plan names {plan.architecture}, and its {depth} blocks are {width} wide",
            f"known are {known}",
        )
    return size


def _shape(file: WeightsFile, plan: _Plan, cell: int, tokens: int) -> list[int]:
    """Sides of the images that the positions are for.

    Raises:
        UsageError: the plan does not say them.
    """
    for sides in plan.shapes:
        if all(side % cell == 0 for side in sides) and prod(s // cell for s in sides) == tokens:
            return sides
    raise UsageError(
        f"{file.path} does not say for images of which size its {tokens} positions are",
        f"its plan says {plan.shapes}" if plan.shapes else "it has no plan that does",
        f"put its {PLAN} beside it",
    )


def _read(file: WeightsFile) -> Recognised:
    tensors, plan = _plain(file.tensors), _plan(file)
    weights, left = divided(tensors, _renamed)
    width, channels, *cells = shape_of(weights, PROJ, 5, NAME)
    _, tokens, _ = shape_of(weights, POSITIONS, 3, NAME)
    blocks = {name.split(".")[2] for name in weights if name.startswith("eva.blocks.")}
    if len(set(cells)) != 1:
        raise DataError(
            f"{file.path} is no Primus that medssl can build",
            f"its cells measure {cells}",
            "give one with cubes as cells",
        )
    size = _size(file, plan, width, len(blocks))
    sides = _shape(file, plan, cells[0], tokens)
    network: dict[str, Any] = {
        "name": NAME,
        "width": size.width,
        "depth": size.depth,
        "heads": size.heads,
        "cell_side": cells[0],
        "input_shape": sides,
    }
    original = f"dynamic_network_architectures {plan.architecture}"
    facts = replace(OPENMIND, patch=tuple(sides))
    return Recognised(NAME, original, network, True, channels, weights, left, facts)


FAMILIES = {
    NAME: Family(
        NAME, "nnssl: Primus, e.g. OpenMind's Primus-M, with its adaptation plan", _fits, _read
    )
}
