"""The mistakes of `bundle.yaml`: collected from all its files, then told all at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from c2wtasks.bundlefile.position import Position
from c2wtasks.errors import UserError, one_line

# Of a URL. What stands before a digest is a tag.
_CREDENTIALS = re.compile(r"//[^/\s]+@(?!sha(?:256|512):)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where, `<key path>: <what is wrong, with the value>`, and what to do about it."""

    position: Position
    text: str
    hint: str | None = None

    @property
    def line(self) -> str:
        """The mistake as one printable line: `bundle.yaml:12:5: images.web.x: unknown key; did you mean 'y'?`"""
        line = f"{self.position}: {self.text}" + (f"; {self.hint}" if self.hint else "")
        return one_line(_CREDENTIALS.sub("//***@", line))


class BundleFileError(UserError):
    """`bundle.yaml`, or a file that it includes, has mistakes: `problems`, sorted by file, line and column."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_order))
        assert self.problems, "an error without a mistake"
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(self.problems[0].line + more)

    @property
    def lines(self) -> tuple[str, ...]:
        """The mistakes, one printable line each."""
        return tuple(problem.line for problem in self.problems)


def _order(problem: Problem) -> tuple[str, int, int, str]:
    place = problem.position
    return place.file, place.line, place.column, problem.text


class Placed(Protocol):
    """What has a place in a file: a node, or a Position."""

    @property
    def file(self) -> str:
        """The path of the file, for messages."""

    @property
    def line(self) -> int:
        """The line, from 1."""

    @property
    def column(self) -> int:
        """The column, from 1."""


class Problems:
    """Takes the mistakes as they are found.

    What an alias or a merge key brings in is checked wherever it is used: a mistake in it is kept once, under
    the key path at which it was met first.
    """

    def __init__(self) -> None:
        self._problems: dict[tuple[str, int, int, str], Problem] = {}

    def add(self, place: Placed, path: str, wrong: str, hint: str | None = None) -> None:
        """Adds a mistake. `path` is the key path (`images.web.platforms[0]`), empty where the whole file is meant."""
        key = (place.file, place.line, place.column, wrong)
        if key not in self._problems:
            text = f"{path}: {wrong}" if path else wrong
            self._problems[key] = Problem(Position(place.file, place.line, place.column), text, hint)

    def raise_if_any(self) -> None:
        """Raises BundleFileError with all mistakes, if there are any."""
        if self._problems:
            raise BundleFileError(self._problems.values())
