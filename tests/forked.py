"""Processes that are forked, so that torch is not imported again."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch._dynamo  # torch itself imports it at the first step of an optimiser: a second

from medssl import cli
from medssl.stop import STOP
from medssl.train.distributed import TEAM


def fork(work: Callable[[], int | None], told: tuple[Path, Path]) -> int:
    """Begin some work in a process of its own, whose exit code it returns; the process's id.

    Args:
        told: files for what it says on standard output and on standard error.
    """
    if pid := os.fork():
        return pid
    code = 70
    try:
        torch.set_num_threads(1)
        for number, file in enumerate(told, start=1):
            os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        code = work() or 0
    except SystemExit as found:
        code = int(found.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def begin(
    *arguments: str,
    folder: Path,
    told: tuple[Path, Path],
    before: Callable[[], None] = lambda: None,
) -> int:
    """Begin `medssl ARGUMENTS` in a folder, as `fork`; `before` is called in its process."""

    def work() -> None:
        os.chdir(folder)
        before()
        TEAM.__init__()
        STOP.__init__()
        sys.argv = ["medssl", *arguments]
        cli.main()

    return fork(work, told)


def driver(name: str, *arguments: str, folder: Path) -> tuple[int, str, str]:
    """`python tests/drivers/NAME.py ARGUMENTS`: exit code, standard output and standard error."""
    told = folder / "out.txt", folder / "err.txt"

    def work() -> int:
        sys.argv = [name, *arguments]
        return int(importlib.import_module(f"tests.drivers.{name}").main())

    code = exit_code(fork(work, told))
    return code, *(file.read_text() for file in told)


def exit_code(pid: int) -> int:
    """Wait for a process to end."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
