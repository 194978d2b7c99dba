"""The command line in two processes of this machine, as torchrun starts it, but forked."""

import os
import socket
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from medssl import cli
from medssl.stop import STOP
from medssl.train.distributed import TEAM


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
        self.pids = []
        for rank in range(processes):
            if pid := os.fork():
                self.pids.append(pid)
                continue
            self._be(rank, processes, arguments, before)

    def _be(self, rank, processes, arguments, before):
        code = 70
        try:
            torch.set_num_threads(1)
            os.chdir(self.folder)
            os.environ.update(
                RANK=str(rank), WORLD_SIZE=str(processes), MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(self._store.port), TORCHELASTIC_USE_AGENT_STORE="True",
            )  # fmt: skip
            for name, number in (("out", 1), ("err", 2)):
                target = os.open(
                    self._logs / f"{name}-{rank}.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC
                )
                os.dup2(target, number)
            sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
            TEAM.__init__()
            STOP.__init__()
            sys.argv = ["medssl", *arguments]
            before(rank)
            cli.main()
            code = 0
        except SystemExit as found:
            code = int(found.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait(self, seconds: float = 120) -> list[int]:
        """The exit code of each process; those still at work after so long are killed (-9)."""
        codes, until = {}, time.monotonic() + seconds
        while len(codes) < len(self.pids):
            for pid in set(self.pids) - set(codes):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes[pid] = os.waitstatus_to_exitcode(status)
                elif time.monotonic() > until:
                    os.kill(pid, 9)
            time.sleep(0.02)
        return [codes[pid] for pid in self.pids]

    def told(self, rank: int) -> tuple[str, str]:
        """What a process wrote to standard output and to standard error."""
        out, err = ((self._logs / f"{name}-{rank}.txt").read_text() for name in ("out", "err"))
        return out, err


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
