"""Progress on a terminal, in a log, and not at all."""

import io

from rich.console import Console

from medssl.pipeline.progress import (
    BarReporter,
    Counted,
    LineReporter,
    QuietReporter,
    Steps,
    clock,
    shown,
)


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=100), text


def test_values_of_a_step_in_one_line() -> None:
    values = {"dice": 0.8744, "loss": 0.3117, "steps_per_s": 9.12, "learning_rate": 0.05}
    assert shown(values) == "loss 0.312  Dice 0.874  9.1 steps/s"
    assert shown({}) == ""


def test_time_left_reads_as_minutes_and_seconds() -> None:
    assert clock(125.9) == "2:05"


def test_a_log_gets_about_ten_lines_and_keeps_the_last_dice() -> None:
    target, text = console(terminal=False)
    reporter = LineReporter(target, pause=0)
    reporter.begin(1000, 0)
    for step in range(1, 1001):
        reporter.step(step, {"loss": 1 / step} | ({"dice": 0.5} if step == 150 else {}))
    reporter.end()
    lines = text.getvalue().splitlines()
    assert len(lines) == 10
    assert "Dice" not in lines[0]
    assert "1000/1000" in lines[-1]
    assert "Dice 0.500" in lines[-1]
    assert "0:00 left" in lines[-1]


def test_work_of_a_moment_gets_one_line() -> None:
    target, text = console(terminal=False)
    with Steps(LineReporter(target), 5) as steps:
        for _ in range(5):
            steps.advance()
    assert text.getvalue() == "  5/5  0:00 left\n"


def test_calls_with_done_and_total_are_counted() -> None:
    target, text = console(terminal=False)
    with Counted(LineReporter(target)) as counted:
        counted(1, None)
        counted(1, 2)
        counted(2, 2)
    assert text.getvalue() == "  2/2  0:00 left\n"


def test_a_terminal_gets_a_bar_with_loss_and_dice() -> None:
    target, text = console(terminal=True)
    reporter = BarReporter(target)
    reporter.begin(4, 0)
    reporter.step(2, {"loss": 0.25, "dice": 0.5, "steps_per_s": 2.0})
    reporter.end()
    assert "2/4" in text.getvalue()
    assert "loss 0.250  Dice 0.500  2.0 steps/s" in text.getvalue()


def test_steps_end_the_bar_when_the_work_fails() -> None:
    class Watched(QuietReporter):
        ended = 0

        def end(self) -> None:
            self.ended += 1

    reporter = Watched()
    try:
        with Steps(reporter, 3) as steps:
            steps.advance()
            raise RuntimeError
    except RuntimeError:
        pass
    assert reporter.ended == 1
