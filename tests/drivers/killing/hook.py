"""Counts the file operations of this process, and sends it a signal before a chosen one.

So the process dies with every earlier operation done and none of the later. medssl knows nothing
of it: Python's audit events tell of its own operations, and the writers in C and Rust, which raise
none, count as one operation before and one after.
"""

import functools
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
"""os.replace is audited as os.rename, os.unlink as os.remove."""

WRITERS = (
    ("torch", "save"),
    ("safetensors.torch", "save_file"),
    ("safetensors.numpy", "save_file"),
    ("SimpleITK", "WriteImage"),
)


class Counter:
    """Counts operations below a folder.

    Args:
        place: folder of the run.
        last: operation before which `signal` is sent; None only counts.
    """

    def __init__(self, place: Path, last: int | None, signal: int) -> None:
        self.count = 0
        self._place, self._last, self._signal = str(place), last, signal

    def install(self) -> None:
        """Count from now on; for good, so this is for a process of its own."""
        for module, name in WRITERS:
            home = importlib.import_module(module)
            setattr(home, name, self._counted(getattr(home, name)))
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            written = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if isinstance(path, str | bytes) and written and self._inside(path):
                self._operate()
        elif event in CHANGES and self._inside(arguments[0]):
            self._operate()

    def _inside(self, path: Any) -> bool:
        try:
            whole = str(Path.cwd() / os.fsdecode(path))
        except TypeError:  # a number of an open file
            return True
        # Not MLflow's database, which looks after itself.
        return whole.startswith(self._place) and "mlflow.db" not in whole

    def _operate(self) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), self._signal)

    def _counted(self, writer: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(writer)
        def write(*arguments: Any, **named: Any) -> Any:
            self._operate()
            found = writer(*arguments, **named)
            self._operate()
            return found

        return write
