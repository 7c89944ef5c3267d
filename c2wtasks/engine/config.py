"""What a dodo.py hands to the engine: `DOIT_CONFIG = configure(...)`. A dodo without it gets doit's own `run`."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from c2wtasks.engine.checker import Checker
from c2wtasks.engine.command import BACKEND
from c2wtasks.engine.outcome import Failed, Ran
from c2wtasks.engine.report import Report
from c2wtasks.errors import UserError
from c2wtasks.settled import LookedAt

KEY = "c2wtasks"


class Hooks(Protocol):
    """What the engine asks of the graph it runs."""

    @property
    def aliases(self) -> Mapping[str, tuple[str, ...]]:
        """Names a user may give in place of task names, each for one or more tasks: `web`, `web@linux/amd64`.

        A task's own name and a target come first.
        """

    @property
    def workers(self) -> int:
        """How many tasks to run at once where the command line does not say."""

    @property
    def late(self) -> Sequence[str]:
        """What is still being found out, and has no tasks yet: a name for each, for messages."""

    def arrive(self, *, wait: bool) -> bool:
        """Whether something that was late has come: the dodo's creators then give its tasks, too. If it is to `wait`,
        something has."""

    def proven(self) -> Iterable[str]:
        """The tasks that prove themselves current by what is on disk, where nothing is remembered of them."""

    def publish(self, tasks: frozenset[str]) -> Mapping[str, UserError]:
        """Called with tasks that have ended well and are `published_later`: makes what they have made ready their
        targets. Gives the errors of those for which that cannot be done."""

    def recover(self) -> None:
        """Called first, where the last run was cut short: removes what it left unfinished.

        Raises UserError.
        """

    def warn_before(self, tasks: frozenset[str]) -> Iterable[str]:
        """Called once, before the first heavy task is executed: not at all where there is none. `tasks` are those
        that will surely run, of the heavy ones. Gives lines to warn with.
        """

    def end_of_run(self, failed: Failed, current: frozenset[str]) -> Iterable[str]:
        """Called at the end of every run, whatever failed. Gives the lines to end with.

        `current` are the names of the tasks that are now as they should be. The lines that it gives before it
        raises a UserError are shown, too.
        """

    def size_of(self, product: str) -> int | None:
        """The bytes of what this run has made under that name (see `Meta`), if that is known."""

    def totals(self) -> str:
        """What there is now of all products, for the last line; "" where it would take time to find out."""

    def remember(self, ran: Ran) -> Iterable[str]:
        """Called after `end_of_run`, whatever failed, with all that is to be remembered of the run. Gives lines, as
        that does; a UserError is just one more.
        """

    def looked_at(self) -> LookedAt | None:
        """What was looked at to load the graph and to say the lines at the end; None where a run after one that found
        all current is to look at more."""

    @property
    def sealed_until(self) -> int:
        """Until when (ns since 1970) that is enough."""

    def cleaned(self, tasks: frozenset[str]) -> None:
        """Called after the outputs of these tasks were removed: brings up to date what tells of them.

        Raises UserError.
        """

    def after_good_run(self) -> Iterable[str]:
        """Called after `end_of_run` where the run ended well, while no other is at work. Gives lines, as that does; a
        UserError is just one more.
        """


class HasHooks(Protocol):
    """A graph."""

    @property
    def hooks(self) -> Hooks:
        """What the engine asks of it."""


def configure(graph: Hooks | HasHooks) -> dict[str, Any]:
    """The DOIT_CONFIG of a dodo.py whose tasks are run by our engine."""
    hooks = cast(Hooks, getattr(graph, "hooks", graph))
    # The tasks of a catalog live as long as the run. Left to itself, the collector of garbage walks them all time and
    # again: a fifth of a run in which there is nothing to do.
    gc.set_threshold(100_000, 50, 100)
    return {
        KEY: hooks,
        "backend": BACKEND,
        "check_file_uptodate": Checker,
        "continue": True,
        "num_process": hooks.workers,
        "par_type": "thread",
        "reporter": Report,
    }
