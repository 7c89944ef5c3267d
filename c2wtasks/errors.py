"""What can go wrong that is the user's to mend: one base class, one line each, never a traceback; and which word was
meant where one is misspelt."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

MAX_LINE = 2000
_LISTED = 20
_TOO_FEW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_LONGEST = 80  # characters of a word that may be a slip


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


class MachineError(UserError):
    """The machine has not enough of something: that says nothing of what was looked at."""


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


def program() -> str:
    """What was typed to begin this program, for hints: `doit`, `c2wtasks`, `python -m c2wtasks`."""
    folder, name = os.path.split(sys.argv[0])
    if name == "__main__.py" and os.path.basename(folder) == "c2wtasks":
        return f"{os.path.basename(sys.orig_argv[0])} -m c2wtasks"
    return "c2wtasks" if name == "c2wtasks" else "doit"


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


def of_the_machine(error: OSError, path: object = None) -> MachineError | None:
    """The error that there are no more descriptors, or no more memory, to open `path`: then `error` is none about
    what lies there, which nobody may take for missing or damaged. None for any other error."""
    if error.errno not in _TOO_FEW:
        return None
    where = os.fsdecode(path) if isinstance(path, str | bytes) else ""
    hint = "raise that limit (ulimit -n), or run with -n 1" if error.errno == errno.EMFILE else None
    return MachineError(f"{where}: cannot be opened: {os_reason(error)}" if where else os_reason(error), hint=hint)


def some_of(names: Sequence[str], listed: int = _LISTED) -> str:
    """For messages: the names, the first ones of many."""
    shown = ", ".join(names[:listed])
    return f"{shown} and {len(names) - listed} more" if len(names) > listed else shown


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that was probably meant: that a slip of the hand or two make the word. None where there is
    none, or two are as near."""
    if len(word) > _LONGEST:
        return None
    plain = word.lower().replace("-", "_")
    slips = sorted((_slips(plain, name.lower().replace("-", "_")), name) for name in known)
    if not slips or slips[0][0] > max(1, len(slips[0][1]) // 4) or [few for few, _ in slips[:2]] == [slips[0][0]] * 2:
        return None
    return slips[0][1]


def _slips(word: str, meant: str) -> int:
    """How many characters were left out, put in, taken for others or for their neighbours. Two, where one is a digit:
    another number is no slip (`ext3`, `v0.9`, `lzo` for `lz4`)."""
    above: list[int] = []
    row: list[int] = [*range(len(meant) + 1)]
    for at, char in enumerate(word, start=1):
        before, above, row = above, row, [at]
        for to, wanted in enumerate(meant, start=1):
            wrong = 0 if char == wanted else 2 if char.isdigit() or wanted.isdigit() else 1
            least = min(above[to] + 1, row[to - 1] + 1, above[to - 1] + wrong)
            if at > 1 and to > 1 and char == meant[to - 2] and word[at - 2] == wanted:
                least = min(least, before[to - 2] + 1)
            row.append(least)
    return row[-1]
