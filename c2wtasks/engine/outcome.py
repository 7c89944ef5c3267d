"""How a run has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

DONE = 0
FAILED = 1

Failed = Mapping[str, Mapping[str, str]]
"""Each task that failed, or was left out for one that did -> the tasks at fault -> why, on one line."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `status` is the exit status: DONE, FAILED, or 128 and the number of the signal that ended
    it."""

    status: int
    failed: Failed = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that has ended, for who remembers it: when it `began` (seconds since the epoch) and how long it took, the
    words that it was `asked` for and the tasks that these mean; the tasks that were executed with success (`done`),
    and those that are now as they should be (`current`: those, too); how long was worked for a task."""

    began: float
    seconds: float
    status: int
    asked: tuple[str, ...]
    selected: frozenset[str]
    done: frozenset[str]
    current: frozenset[str]
    failed: Failed
    seconds_of: Callable[[str], float]


def reasons(why: Mapping[str, str]) -> str:
    """Why a task failed, on one line, of the tasks at fault."""
    return " / ".join(dict.fromkeys(text for _, text in sorted(why.items())))
