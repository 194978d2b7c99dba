"""Progress for people: a live bar on a terminal, sparse lines without one, nothing when quiet."""

import sys
import time
from collections.abc import Iterable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

WORDS = {
    "loss": "loss {:.3f}",
    "dice": "Dice {:.3f}",
    "kappa": "kappa {:.3f}",
    "steps_per_s": "{:.1f} steps/s",
}
"""Values of a step that are worth a look while it runs, and how they are shown."""


class QuietReporter:
    """Says nothing.

    Attributes:
        listens: whether anybody reads what is noted.
    """

    listens = False

    def begin(self, total: int, start: int) -> None:
        """`total` steps, of which `start` are already done."""

    def step(self, step: int, values: dict[str, float]) -> None:
        """Step number `step` is done."""

    def note(self, text: str) -> None:
        """One line on what happens."""

    def warn(self, text: str) -> None:
        """One line on what may be wrong; told in every case."""
        sys.stderr.write(f"warning: {text}\n")

    def end(self) -> None:
        """The last step is done, or the work was given up."""


class SilentReporter(QuietReporter):
    """Says nothing at all, for one of several processes of which another talks."""

    def warn(self, text: str) -> None:
        """One line on what may be wrong."""


class ProgressReporter(SilentReporter):
    """Shows how far work is on another reporter, and no words, which may name a patient."""

    def __init__(self, reporter: QuietReporter) -> None:
        self.begin, self.step, self.end = reporter.begin, reporter.step, reporter.end  # type: ignore[method-assign]


class KeptReporter(QuietReporter):
    """Keeps what is noted, to be told by another.

    Attributes:
        lines: each with whether it is a warning.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, bool]] = []

    def note(self, text: str) -> None:
        """One line on what happens."""
        self.lines.append((text, False))

    def warn(self, text: str) -> None:
        """One line on what may be wrong."""
        self.lines.append((text, True))


def retell(lines: Iterable[tuple[str, bool]], reporter: QuietReporter) -> None:
    """Tell what a `KeptReporter` kept."""
    for text, warns in lines:
        (reporter.warn if warns else reporter.note)(text)


class ConsoleReporter(QuietReporter):
    """Writes what is noted on lines of their own; above the bar, where there is one."""

    listens = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: dict[str, float] = {}

    def note(self, text: str) -> None:
        """One line on what happens."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line on what may be wrong."""
        self.note(f"warning: {text}")

    def see(self, values: dict[str, float]) -> str:
        """The latest values that are worth a look, in one line."""
        self._seen |= {name: values[name] for name in WORDS if name in values}
        return shown(self._seen)


class LineReporter(ConsoleReporter):
    """At most about ten lines per piece of work, for logs; short work gets only its last.

    Args:
        console: where to write.
        pause: seconds between lines, at least.
    """

    def __init__(self, console: Console, pause: float = 2.0) -> None:
        super().__init__(console)
        self._pause = pause
        self._total = self._start = self._step = self._told = 0
        self._since = self._spoke = 0.0

    def begin(self, total: int, start: int) -> None:
        """Start counting towards `total`."""
        self._total, self._start, self._step, self._told = total, start, start, start
        self._since, self._seen = time.perf_counter(), {}
        self._spoke = self._since

    def step(self, step: int, values: dict[str, float]) -> None:
        """A line at every tenth of the way."""
        self._step = step
        self.see(values)
        far = step - self._told >= max(1, self._total // 10)
        now = time.perf_counter()
        if step == self._total or (far and now - self._spoke >= self._pause):
            self._told, self._spoke = step, now
            self._line()

    def _line(self) -> None:
        spent = time.perf_counter() - self._since
        left = spent / max(1, self._step - self._start) * (self._total - self._step)
        parts = [f"{self._step}/{self._total}", shown(self._seen), f"{clock(left)} left"]
        self.note("  " + "  ".join(part for part in parts if part))


class BarReporter(ConsoleReporter):
    """A live bar with loss, validation Dice, steps per second and time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar: Progress | None = None

    def begin(self, total: int, start: int) -> None:
        """Show the bar."""
        self.end()
        self._seen = {}
        self._bar = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=False,
        )
        self._bar.add_task("", total=total, completed=start, values="")
        self._bar.start()

    def step(self, step: int, values: dict[str, float]) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, values=self.see(values))

    def end(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Steps:
    """Counts pieces of work on a reporter, and ends the bar whatever happens."""

    def __init__(self, reporter: QuietReporter, total: int, start: int = 0) -> None:
        self._reporter, self._total, self._done = reporter, total, start

    def __enter__(self) -> Self:
        self._reporter.begin(self._total, self._done)
        return self

    def __exit__(self, *_: object) -> None:
        self._reporter.end()

    def advance(self) -> None:
        """One more piece is done."""
        self._done += 1
        self._reporter.step(self._done, {})


class Counted:
    """Shows calls of (done, total) on a reporter; a total that is not known shows nothing."""

    def __init__(self, reporter: QuietReporter) -> None:
        self._reporter = reporter
        self._total: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reporter.end()

    def __call__(self, done: int, total: int | None) -> None:
        """`done` of `total` pieces."""
        if total is None:
            return
        if total != self._total:
            self._total = total
            self._reporter.begin(total, 0)
        self._reporter.step(done, {})


def make_reporter(quiet: bool) -> QuietReporter:
    """The reporter that fits standard error; results alone go to standard output."""
    if quiet:
        return QuietReporter()
    console = Console(file=sys.stderr)
    return BarReporter(console) if console.is_terminal else LineReporter(console)


def shown(values: dict[str, float]) -> str:
    """The values of a step in one line, e.g. "loss 0.312  Dice 0.874  9.1 steps/s"."""
    return "  ".join(text.format(values[name]) for name, text in WORDS.items() if name in values)


def clock(seconds: float) -> str:
    """Minutes and seconds, e.g. "2:05"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
