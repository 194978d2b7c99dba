"""What is told of a key that people write in a file, and how it is printed."""

import textwrap
from dataclasses import dataclass

WIDTH = 100


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        name: with dots, as in an override; `labels[].name` is a key of each in a list.
        takes: what it may be, in words; empty: that is not known.
        default: in YAML; empty where its own keys have defaults; None: it must be given.
        meaning: with its unit.
    """

    name: str
    takes: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class Section:
    """The keys of a kind of file, a method or a layout, or some of them."""

    name: str
    about: str
    keys: tuple[Key, ...]

    def part(self, inside: str) -> tuple[Key, ...]:
        """The key of that name and those below it."""
        starts = (f"{inside}.", f"{inside}[].")
        return tuple(key for key in self.keys if key.name == inside or key.name.startswith(starts))


def lines_of(section: Section) -> list[str]:
    """Its lines for a reader, each key as it can be given on the command line."""
    lines = [*textwrap.wrap(f"# {section.name}: {section.about}", WIDTH), ""]
    for key in section.keys:
        default = f"={key.default}" if key.default else ""
        takes = [key.takes] if key.takes else []
        takes += ["must be given"] if key.default is None else []
        inside = f"  ({'; '.join(takes)})" if takes else ""
        lines += wrapped(f"{key.name}{default}{inside}", key.meaning)
    return [*lines, ""] if section.keys else [*lines, "It has no keys of its own.", ""]


def wrapped(first: str, rest: str) -> list[str]:
    """A line, and what belongs to it indented below."""
    indent = " " * 4
    return [first, *textwrap.wrap(rest, WIDTH, initial_indent=indent, subsequent_indent=indent)]
