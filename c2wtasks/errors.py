"""What can go wrong that is the user's to mend: one base class, one line each, never a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_LINE = 2000
_LISTED = 20


class UserError(Exception):
    """Something in the input, or on the machine, that the user can mend.

    `message` says what is wrong, naming file, entry and value; `hint` says what to do about it.
    `str()` gives both on one line, with control characters escaped, never longer than MAX_LINE.
    A broken invariant of ours is not a UserError: it is an `assert`, and shows as a bug.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return one_line(self.message if self.hint is None else f"{self.message}; {self.hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Passes to another process whatever `__init__` a subclass has."""
        return _received, (type(self), self.args, self.__dict__)


def _received(kind: type[UserError], args: tuple[Any, ...], fields: dict[str, Any]) -> UserError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class SourceError(UserError):
    """An image's source cannot be read, or does not hold what was asked for."""


class LayerError(UserError):
    """A layer's blob or its archive is not what it should be."""


class TreeError(UserError):
    """A layer cannot be applied to the tree below it."""


class SpecError(UserError):
    """The image config cannot be turned into a runtime spec."""


class OutputError(UserError):
    """An output cannot be written."""


def printable(text: str) -> str:
    """`text` with everything that could disturb a terminal written as an escape (`\\x1b`, `\\n`)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """`text` as one printable line of at most `limit` characters."""
    line = printable(text)
    if len(line) <= limit:
        return line
    keep = (limit - 5) // 2
    return f"{line[:keep]} ... {line[-keep:]}"


def os_reason(error: OSError) -> str:
    """The system's words for `error`, without path or number: "Permission denied"."""
    return error.strerror or str(error)


def some_of(names: Sequence[str], listed: int = _LISTED) -> str:
    """For messages: the names, the first ones of many."""
    shown = ", ".join(names[:listed])
    return f"{shown} and {len(names) - listed} more" if len(names) > listed else shown
