"""Imported by the process that commands are forked from: all that they would import themselves."""

from tests.drivers.command import MLFLOW, load_all

load_all(MLFLOW)
