"""Where networks run: on the processor or on an accelerator, by a name such as "cuda:1"."""

import re
from typing import TYPE_CHECKING

from medssl.environment import process_count, process_on_machine, shown_gpus
from medssl.errors import UsageError

if TYPE_CHECKING:
    import torch

_NAME = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def named_device(name: str) -> str:
    """The name, if it may be one; does not import torch.

    Raises:
        ValueError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("there is no such device; choose auto, cpu, cuda, cuda:1 ... or mps")
    return name


def choose_device(name: str) -> "torch.device":
    """The device of that name; "auto" takes the GPU where there is one.

    Of several processes on a machine each takes a GPU of its own.

    Raises:
        UsageError: the name is wrong, or this machine has no such device; says what it has.
    """
    try:
        named_device(name)
    except ValueError as error:
        raise UsageError(f"the device '{name}' is unknown", str(error)) from None
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name in ("auto", "cuda") and gpus and process_count() > 1:
        name = f"cuda:{process_on_machine()}"
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    wanted = torch.device(name)
    there = {"cpu": 1, "cuda": gpus, "mps": int(torch.backends.mps.is_available())}
    if (wanted.index or 0) >= there[wanted.type]:
        names = [f"cuda:{number}" for number in range(gpus)] + ["mps"] * there["mps"]
        raise UsageError(
            f"the device {name} is not here",
            f"torch finds {' and '.join(['cpu', *names])}",
            "choose one of these, or auto",
        )
    return wanted


def visible_gpus() -> list[str]:
    """The GPUs of this machine that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = shown_gpus()
    return names[:count] if names is not None else [str(number) for number in range(count)]
