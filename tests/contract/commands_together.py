"""The command line in two processes of this machine, as torchrun starts it, but forked.

They are forked from a process that has done nothing but import. A fork of the one that tests takes
over what those before have left, such as objects of threads that it does not have, and may crash
when they are taken away.
"""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cloudpickle
import torch.distributed as dist

from medssl import cli
from medssl.train.distributed import TEAM

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.contract.loaded"])


class Started:
    """`medssl ARGUMENTS` in several processes, in a folder.

    Args:
        before: called in each process with its rank, before it begins.
        logs: folder for what they say; the same one where none is given.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        processes: int = 2,
        before=lambda _: None,
        logs: Path | None = None,
    ):
        self.folder, self._logs = folder, logs or folder
        # As torchrun's agent does, which outlives the processes.
        self._store = dist.TCPStore("127.0.0.1", _free_port(), None, True, wait_for_workers=False)
        act = cloudpickle.dumps(before)
        self.processes: list[BaseProcess] = []
        for rank in range(processes):
            place = {
                "RANK": str(rank), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(self._store.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
            }  # fmt: skip
            files = [self._logs / f"{name}-{rank}.txt" for name in ("out", "err")]
            given = (folder, os.environ | place, files, arguments, rank, act)
            self.processes.append(FORKS.Process(target=_be, args=given))
            self.processes[-1].start()

    def wait(self, seconds: float = 120) -> list[int]:
        """The exit code of each process; those still at work after so long are killed (-9)."""
        until = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        return [int(process.exitcode or 0) for process in self.processes]

    def told(self, rank: int) -> tuple[str, str]:
        """What a process wrote to standard output and to standard error."""
        out, err = ((self._logs / f"{name}-{rank}.txt").read_text() for name in ("out", "err"))
        return out, err


def _be(
    folder: Path,
    environment: dict[str, str],
    files: list[Path],
    arguments: tuple[str, ...],
    rank: int,
    act: bytes,
) -> None:
    """One of the processes; never returns."""
    code: Any = 70
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for number, file in enumerate(files, 1):
            os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        TEAM.__init__()
        sys.argv = ["medssl", *arguments]
        before: Callable[[int], Any] = cloudpickle.loads(act)
        before(rank)
        cli.main()
        code = 0
    except SystemExit as found:
        code = int(found.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
