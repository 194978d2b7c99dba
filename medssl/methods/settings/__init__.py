"""Settings of every method, one module per method, free of torch.

A module here named `tracoco` with a class `Settings` is what registers the method `tracoco`.
"""

from typing import ClassVar, Literal, Self

from medssl.section import Section

Family = Literal["pretrain", "segment", "grade", "slide"]


class MethodSettings(Section):
    """Base of every method's settings.

    Attributes:
        family: which stage runs it.
        implementation: "module:Class" of the algorithm.
        paper: what to cite.
        summary: one line for `medssl methods`.
        takes_images: whether a method of the family "pretrain" learns from images beside volumes.
        presets: named sets of settings, applied before the user's own keys.
    """

    family: ClassVar[Family]
    implementation: ClassVar[str]
    paper: ClassVar[str]
    summary: ClassVar[str]
    takes_images: ClassVar[bool] = False
    presets: ClassVar[dict[str, dict[str, object]]] = {}

    @classmethod
    def preset(cls, name: str) -> Self:
        """The settings of a preset, nothing else changed."""
        return cls.model_validate(cls.presets[name])
