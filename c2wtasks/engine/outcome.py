"""How a run has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DONE = 0
FAILED = 1

Failed = Mapping[str, Mapping[str, str]]
"""Each task that failed, or was left out for one that did -> the tasks at fault -> why, on one line."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is the exit status: DONE, FAILED, or 128 and the number of the signal that ended the run."""

    status: int
    failed: Failed = field(default_factory=dict)
