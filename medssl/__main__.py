"""The console script and `python -m medssl`: hears signals before heavy imports begin."""

import sys

from medssl.errors import Stopped
from medssl.stop import STOP


def main() -> None:
    """Run the command line."""
    try:
        STOP.listen()
        from medssl.cli import main as command

        command()
    except Stopped as stopped:
        sys.stderr.write(f"medssl: {stopped}\n")
        STOP.leave(stopped.exit_code)


if __name__ == "__main__":
    main()
