"""The command line in two processes of this machine, as torchrun starts it, but forked."""

import os
import socket
import time
from pathlib import Path

import torch.distributed as dist

from tests.drivers.command import without_mlflow
from tests.forked import begin


class Started:
    """`medssl ARGUMENTS` in several processes, in a folder.

    Args:
        before: called in each process with its rank, before it begins.
        logs: folder for what they say; the same one where none is given.
        mlflow: whether they open a store, which takes seconds.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        processes: int = 2,
        before=lambda _: None,
        logs: Path | None = None,
        mlflow: bool = False,
    ):
        self._logs, self._mlflow = logs or folder, mlflow
        # As torchrun's agent does, which outlives the processes.
        self._store = dist.TCPStore("127.0.0.1", _free_port(), None, True, wait_for_workers=False)
        self.pids = []
        for rank in range(processes):
            self.pids.append(
                begin(
                    *arguments,
                    folder=folder,
                    told=self._files(rank),
                    before=lambda rank=rank: self._join(rank, processes, before),
                )
            )

    def _join(self, rank, processes, before):
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(processes), MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(self._store.port), TORCHELASTIC_USE_AGENT_STORE="True",
        )  # fmt: skip
        if not self._mlflow:
            without_mlflow()
        before(rank)

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
        out, err = (file.read_text() for file in self._files(rank))
        return out, err

    def _files(self, rank: int) -> tuple[Path, Path]:
        return self._logs / f"out-{rank}.txt", self._logs / f"err-{rank}.txt"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
