"""Several runs of a study at once on this machine, each in processes and on GPUs of its own."""

import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medssl.device import visible_gpus
from medssl.environment import with_variables
from medssl.errors import Stopped, UsageError
from medssl.pipeline.executors.order import Handed, Order
from medssl.pipeline.study_failures import Failure, Record
from medssl.pipeline.study_tasks import Task, study_folder
from medssl.stop import held

RESTARTS = 20
"""How often a run goes on that somebody else has stopped."""

LOOK_EVERY_S = 0.2


@dataclass
class _Child:
    """A piece that is being carried out.

    Attributes:
        slot: the share of the machine that it has.
    """

    task: Task
    slot: int
    process: "subprocess.Popen[str]"


def carry_out(order: Order) -> Handed:
    """Carry out all pieces, a pre-training before what starts from it; failures are written down.

    Raises:
        Stopped: a signal asked for it, and all runs have kept what they did.
        UsageError: more GPUs are asked for than there are.
    """
    jobs = order.jobs or 1
    gpus = visible_gpus()
    if (order.gpus or 0) > len(gpus):
        raise UsageError(
            f"--gpus {order.gpus} is more than there are", f"this machine shows {len(gpus)}"
        )
    if order.threads is None:
        order = replace(order, threads=max(1, len(os.sched_getaffinity(0)) // jobs))
    pool = _Pool(order, jobs, gpus)
    pool.run()
    return Handed(failures=tuple(pool.failures))


class _Pool:
    """So many runs at once; what waits for a pre-training goes when that has ended."""

    def __init__(self, order: Order, jobs: int, gpus: Sequence[str]) -> None:
        self._order, self._gpus = order, gpus
        self._waiting = deque(order.work.tasks)
        self._free = list(range(jobs))
        self._children: list[_Child] = []
        self._ended: queue.Queue[_Child] = queue.Queue()
        self._restarts: dict[str, int] = {}
        self.failures: list[Failure] = []

    def run(self) -> None:
        try:
            while self._waiting or self._children:
                while self._free and (task := self._next()) is not None:
                    with held():
                        self._start(task)
                self._settle()
        except Stopped:
            self._stop()
            raise

    def _next(self) -> Task | None:
        """The first piece that waits for nothing that is yet to come."""
        open_ = {task.name for task in self._waiting} | {one.task.name for one in self._children}
        for task in self._waiting:
            if open_.isdisjoint([task.after, *task.folds]):
                self._waiting.remove(task)
                return task
        return None

    def _start(self, task: Task) -> None:
        slot = self._free.pop(0)
        threads = str(self._order.threads)
        variables = {"OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
        if self._gpus:
            each = max(1, self._order.gpus or 1)
            mine = [self._gpus[(slot * each + n) % len(self._gpus)] for n in range(each)]
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        process = subprocess.Popen(  # noqa: S603 - our own command
            self._order.command_of(task),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=with_variables(variables),
        )
        child = _Child(task, slot, process)
        self._children.append(child)
        threading.Thread(target=self._listen, args=(child,), daemon=True).start()
        self._note(f"{task}: begun, {len(self._waiting)} wait")

    def _listen(self, child: _Child) -> None:
        """Say what a piece says, after its number, until it ends."""
        for line in child.process.stderr or ():
            self._note(f"[{child.task.word}] {line.rstrip()}")
        child.process.wait()
        self._ended.put(child)

    def _settle(self) -> None:
        """Wait a moment for a piece that ends, and see what became of it."""
        try:
            child = self._ended.get(timeout=LOOK_EVERY_S)
        except queue.Empty:
            return
        with held():
            self._children.remove(child)
            self._free = sorted([*self._free, child.slot])
            task, code = child.task, child.process.returncode
            record = Record(study_folder(self._order.study), task.name)
            kept = record.read()
            if code and (kept is None or not kept.told):
                kept = Failure(str(task), _how_it_ended(code), 1)
                record.write(kept)
            if code == 0 or kept is None:
                self._note(f"{task}: done")
            elif kept.stopped:
                self._again(task, kept)
            else:
                self._fail(task, kept)

    def _fail(self, task: Task, failure: Failure) -> None:
        if task.kind != "fold":  # its run fails with it
            self.failures.append(failure)
        self._order.reporter.warn(f"{failure.task}: {failure.reason}")

    def _again(self, task: Task, kept: Failure) -> None:
        """Let a piece go on that was asked to stop by somebody else, as a pre-emption does."""
        count = self._restarts[task.name] = self._restarts.get(task.name, 0) + 1
        if count <= RESTARTS:
            self._note(f"{task}: was stopped, goes on")
            self._waiting.appendleft(task)
        else:
            self._fail(task, kept)

    def _stop(self) -> None:
        """Ask all pieces to keep what they have, and wait until they did."""
        for child in self._children:
            child.process.send_signal(signal.SIGTERM)
        for child in self._children:
            child.process.wait()

    def _note(self, text: str) -> None:
        self._order.reporter.note(text)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with the code {code} and gave no reason"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"the signal {-code}"
    often = ", as it does where memory runs out" if -code == signal.SIGKILL else ""
    return f"the system ended it by {name}{often}"
