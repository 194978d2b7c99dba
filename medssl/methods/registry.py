"""Methods by name: those of this package and those other packages offer.

A method of another package is an entry point of group `medssl.methods` that names its
Settings class.
"""

from medssl.methods.settings import MethodSettings
from medssl.registry import METHODS, load


def method_names() -> list[str]:
    """Every known method, sorted."""
    return METHODS.names()


def settings_class(name: str) -> type[MethodSettings]:
    """The settings class of a method; does not import torch.

    Raises:
        UsageError: no method has that name, or that of another package cannot be used.
    """
    return METHODS.find_class(name, MethodSettings)


def implementation(settings: MethodSettings) -> type:
    """The class that carries out the method; imports torch."""
    found: type = load(settings.implementation)
    return found
