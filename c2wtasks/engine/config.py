"""What a dodo.py hands to the engine: `DOIT_CONFIG = configure(...)`. A dodo without it gets doit's own `run`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from c2wtasks.engine.checker import Checker

KEY = "c2wtasks"

# Each task that failed, or was left out for one that did -> the tasks at fault -> why, on one line.
Failed = Mapping[str, Mapping[str, str]]

# The failed, and the names of the tasks that are now as they should be -> the lines to end with.
Finish = Callable[[Failed, frozenset[str]], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the engine asks of the graph it runs.

    `aliases` are names a user may give in place of task names, each for one or more tasks: `web`,
    `web@linux/amd64`. A task's own name and a target come first.

    `finish` is called at the end of every run, whatever failed.
    """

    aliases: Mapping[str, tuple[str, ...]]
    finish: Finish


def configure(*, aliases: Mapping[str, tuple[str, ...]], finish: Finish) -> dict[str, Any]:
    """The DOIT_CONFIG of a dodo.py whose tasks are run by our engine."""
    return {
        KEY: Hooks(aliases, finish),
        "backend": "sqlite3",
        "check_file_uptodate": Checker,
        "continue": True,
        "par_type": "thread",
    }
