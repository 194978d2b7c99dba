"""What a run says, kept for a test to read."""

from medssl.pipeline.progress import QuietReporter


class Told(QuietReporter):
    """Keeps what it is told.

    Attributes:
        notes, warned: what was noted, and what was warned of.
        lines: both in order; warnings as on a console.
    """

    def __init__(self, listens: bool = False) -> None:
        self.listens = listens
        self.notes: list[str] = []
        self.warned: list[str] = []
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)
        self.lines.append(f"warning: {text}")
