"""The console script and `python -m medssl`: hears signals before heavy imports begin."""

import gc
import sys
from typing import Any

from medssl.errors import Stopped
from medssl.stop import STOP

START = 100_000
"""Objects that live before garbage is looked for; a short command makes 60,000.

They are modules and classes. To look for garbage among them, and once more at the end, took a third
of the time of such a command.
"""

_USUAL = gc.get_threshold()


def main() -> None:
    """Run the command line."""
    gc.callbacks.append(_as_usual)
    gc.set_threshold(START)
    try:
        STOP.listen()
        from medssl.cli import main as command

        command()
    except Stopped as stopped:
        sys.stderr.write(f"medssl: {stopped}\n")
        STOP.leave(stopped.exit_code)
    finally:
        if _as_usual in gc.callbacks:  # a short command: nothing is left to close
            gc.freeze()


def _as_usual(phase: str, info: dict[str, Any]) -> None:
    """From the first collection on, garbage is looked for as Python does it."""
    gc.callbacks.remove(_as_usual)
    gc.set_threshold(*_USUAL)


if __name__ == "__main__":
    main()
