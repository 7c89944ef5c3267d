"""What a dodo.py hands to the engine: `DOIT_CONFIG = configure(...)`. A dodo without it gets doit's own `run`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from c2wtasks.engine.checker import Checker
from c2wtasks.engine.command import BACKEND
from c2wtasks.engine.outcome import Failed, Ran
from c2wtasks.engine.report import Report
from c2wtasks.engine.settled import LookedAt
from c2wtasks.errors import UserError
from c2wtasks.process import collector

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

    @property
    def families(self) -> Sequence[str]:
        """The names of the graph's tasks, up to the colon."""

    def widen(self, *, needed: bool) -> bool:
        """Finds out what was not for the sake of the words on the command line, so that it has but tasks that fail.
        Says whether there was anything: the dodo's creators then give its tasks. If it is not known to be `needed`,
        only where these words mean none of the graph's own tasks."""

    def proven(self) -> Iterable[str]:
        """The tasks that prove themselves current by what is on disk, where nothing is remembered of them."""

    def publish(self, tasks: frozenset[str]) -> Mapping[str, UserError]:
        """Called with tasks that have ended well and are `published_later`: makes what they have made ready their
        targets. Gives the errors of those for which that cannot be done."""

    def recover(self) -> None:
        """Called first, where the last run was cut short: removes what it left unfinished.

        Raises UserError.
        """

    def before_work(self) -> None:
        """Called before the first task is executed and while there is but one thread, or once more after that: loads
        what the actions of tasks need, so that no thread has to, and processes that are forked have it."""

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
        """Until when (ns since 1970) it is enough to look at what `looked_at` gives."""

    def cleaned(self, tasks: frozenset[str]) -> None:
        """Called after the outputs of these tasks were removed: brings up to date what tells of them.

        Raises UserError.
        """

    def after_good_run(self) -> Iterable[str]:
        """Called after `end_of_run` where the run ended well, while no other is at work. Gives lines, as that does; a
        UserError is just one more.
        """


class HasHooks(Protocol):
    """A graph that has hooks."""

    @property
    def hooks(self) -> Hooks:
        """What the engine asks of the graph."""


def configure(graph: Hooks | HasHooks) -> dict[str, Any]:
    """The DOIT_CONFIG of a dodo.py whose tasks are run by our engine."""
    hooks = cast(Hooks, getattr(graph, "hooks", graph))
    collector.spare()
    return {
        KEY: hooks,
        "backend": BACKEND,
        "check_file_uptodate": Checker,
        "continue": True,
        "num_process": hooks.workers,
        "par_type": "thread",
        "reporter": Report,
    }
