"""What the tests of all families have in common."""

import pytest

from medssl.train.track import Tracker


@pytest.fixture(autouse=True)
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """To open an MLflow store takes seconds."""

    def refuse(_: Tracker) -> None:
        raise ConnectionError

    monkeypatch.setattr(Tracker, "_open", refuse)
