"""The methods of a family whose weights learn; others keep examples (`test_neighbour_methods`)."""

from medssl.methods.registry import method_names, settings_class


def training(family: str) -> list[str]:
    """Their names."""
    kinds = {name: settings_class(name) for name in method_names()}
    return [name for name, kind in kinds.items() if kind.family == family and kind.by_gradient]
