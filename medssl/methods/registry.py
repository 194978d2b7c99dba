"""Methods by name: those of this package and those other packages offer.

A method of another package is an entry point of group `medssl.methods` that names its
Settings class.
"""

import importlib
import pkgutil
from importlib.metadata import entry_points

import medssl.methods.settings as built_in
from medssl.errors import UsageError
from medssl.methods.settings import MethodSettings


def method_names() -> list[str]:
    """Every known method, sorted."""
    names = {module.name for module in pkgutil.iter_modules(built_in.__path__)}
    return sorted(names | {point.name for point in entry_points(group="medssl.methods")})


def settings_class(name: str) -> type[MethodSettings]:
    """The settings class of a method; does not import torch.

    Raises:
        UsageError: no method has that name.
    """
    for point in entry_points(group="medssl.methods"):
        if point.name == name:
            loaded: type[MethodSettings] = point.load()
            return loaded
    if name not in method_names():
        raise UsageError(
            f"no method is called '{name}'", do=f"choose one of: {', '.join(method_names())}"
        )
    module = importlib.import_module(f"medssl.methods.settings.{name}")
    found: type[MethodSettings] = module.Settings
    return found


def implementation(settings: MethodSettings) -> type:
    """The class that carries out the method; imports torch."""
    module, _, attribute = settings.implementation.partition(":")
    found: type = getattr(importlib.import_module(module), attribute)
    return found
