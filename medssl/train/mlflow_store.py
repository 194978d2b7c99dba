"""An MLflow store that may be away: a run asks it, and never waits for it or ends by it."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TypeVar

from medssl.environment import shown_uri
from medssl.stop import held
from medssl.train.mlflow_run import is_file

Found = TypeVar("Found")

RETRY_AFTER_S = 300.0
PATIENCE_S = 10.0
"""How long a run waits for a server to answer."""

logger = logging.getLogger(__name__)

_away: dict[str, float] = {}
"""When a store that did not answer may be asked again, by its address; shared by the process."""
_warned: set[str] = set()
"""Addresses of stores whose failure was warned of already."""


class Store:
    """A store as one stage sees it.

    Args:
        uri: its address.
        journal: the file that has the numbers meanwhile, for the warning.
    """

    def __init__(self, uri: str, journal: Path) -> None:
        self.uri, self._journal = uri, journal

    @property
    def is_away(self) -> bool:
        """Whether it did not answer lately."""
        return not is_file(self.uri) and time.monotonic() < _away.get(self.uri, 0.0)

    def ask(self, action: Callable[[], Found]) -> Found:
        """The result of `action`; a server that takes longer than `PATIENCE_S` is left.

        Raises:
            TimeoutError: it took longer, and goes on in a thread that nobody waits for.
        """
        if is_file(self.uri):
            with held():
                return action()
        outcome: Future[Found] = Future()

        def work() -> None:
            try:
                outcome.set_result(action())
            except BaseException as error:
                outcome.set_exception(error)

        Thread(target=work, daemon=True).start()
        with held():
            return outcome.result(PATIENCE_S)

    def attempt(self, action: Callable[[], None]) -> bool:
        """Whether `action` on the store went well; one that fails is left alone for a while.

        The next to ask may be another stage.
        """
        if self.is_away:
            return False
        done = self.tried(action)
        if not done:
            _away[self.uri] = time.monotonic() + RETRY_AFTER_S
        return done

    def tried(self, action: Callable[[], None]) -> bool:
        """Whether `action` went well; a failure is warned of, and says nothing of the store."""
        try:
            action()
        # A store may be a file, a database or a server with any driver: whatever it raises, the
        # training is worth more.
        except Exception as error:
            logger.debug("MLflow failed: %s", shown_uri(str(error)))
            self._warn(error)
            return False
        return True

    def _warn(self, error: Exception) -> None:
        """Once per process."""
        if self.uri in _warned:
            return
        _warned.add(self.uri)
        logger.warning(
            "MLflow at %s fails (%s); the run goes on, its numbers are in %s, and are sent when "
            "the same command finds it again",
            shown_uri(self.uri),
            type(error).__name__,
            self._journal,
        )
