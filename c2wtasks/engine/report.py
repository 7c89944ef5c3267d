"""What a run of ours shows: a line for each thing that is done or has failed, signs of life, and how it ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from doit.reporter import ConsoleReporter

from c2wtasks.engine import outcome
from c2wtasks.engine.failure import Interrupted, reason
from c2wtasks.engine.meta import meta_of
from c2wtasks.engine.outcome import Failed
from c2wtasks.engine.reporter import has_output
from c2wtasks.engine.sign import SILENCE, sign
from c2wtasks.engine.tally import Tally, duration, how_far, line
from c2wtasks.engine.times import Times
from c2wtasks.engine.work import Work
from c2wtasks.errors import some_of
from c2wtasks.process.beginning import started
from c2wtasks.telling import progress, stages
from c2wtasks.telling.progress import Progress
from c2wtasks.telling.sizes import human

_PATIENCE = 5.0  # seconds for the thread that shows what is at work to end
_NAMED = 8  # tasks at work that such a line names


class Report(ConsoleReporter):  # type: ignore[misc]
    """A doit reporter. What is current is counted and not listed, and so are tasks that make parts of a product (see
    `Meta`): that is what is listed. Where commands of a user's own tasks failed, what they printed comes at the end,
    as doit has it.
    """

    failures: list[dict[str, Any]]

    def __init__(self, outstream: Any, options: dict[str, Any]) -> None:
        super().__init__(outstream, options)
        self.tally = Tally()
        self.times = Times()
        self.hooks: Any = None
        self.began = time.monotonic()
        self.work = Work()
        self.wanted = 0  # products that were asked for
        self.seconds: dict[str, float] = {}  # by product that was built
        self.seconds_in_all = 0.0
        self.told_failures: set[str] = set()  # what was failed, and why, as the lines at the end have it
        self._made_by: dict[str, str] = {}  # the task of each product
        self._tasks: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._written = self.began
        self._ended = threading.Event()
        self._alive: threading.Thread | None = None

    def follow(self, times: Times, hooks: Any, began: float) -> None:
        """Says what is at work, who knows more of what was made, and when all began (on the monotonic clock)."""
        self.times, self.hooks, self.began = times, hooks, began

    def write(self, text: str) -> None:
        """Writes `text` at once."""
        with self._lock:
            sign.clear()
            self._written = time.monotonic()
            self.outstream.write(text)
            self.outstream.flush()

    # What doit tells.

    def initialize(self, tasks: dict[str, Any], selected_tasks: list[str]) -> None:
        self._tasks = tasks
        names = {part for name in selected_tasks for part in (name, *tasks[name].task_dep)}
        self.wanted = sum(bool(meta_of(tasks[name]).get("product")) for name in names)

    def work_begins(self) -> None:
        """Called in the main thread before the first task is at work: what was shown so far is shown no more."""
        sign.end()

    def execute_task(self, task: Any) -> None:
        """No other thread is begun before the first task is at work: workers are forked while there is one."""
        if not task._actions:  # a group
            return
        with self._lock:
            if self._alive is None:
                self._alive = threading.Thread(target=self._live, daemon=True)
                started(self._alive)

    def skip_uptodate(self, task: Any) -> None:
        self._count(task, "current")

    def add_success(self, task: Any) -> None:
        if not task.actions:
            return
        product = self._count(task, "built")
        if product == "":  # a part
            return
        took = self.times.seconds(task, self._tasks)
        seconds = duration(took)
        if product:
            self.seconds[product] = took
            size = self.hooks.size_of(product)
            self.write(line("built", product, seconds, "" if size is None else human(size)) + "\n")
        elif not task.name.startswith("_"):
            self.write(line("done", task.title(), seconds) + "\n")

    def add_failure(self, task: Any, fail: Any) -> None:
        if isinstance(fail, Interrupted):
            return
        self.work.bytes.pop(task.name, None)
        product = self._count(task, "failed")
        if fail.report:
            name, why = product or task.title(), reason(fail)
            self.failures.append({"task": task, "exception": fail})
            self.write(line("failed", name, why.removeprefix(f"{name}: ")) + "\n")
            self.told_failures.add(f"{name}: {why}")

    def still_shows(self, text: str) -> bool:
        """Whether who reads stderr has just read in this report what `text` says. Pure."""
        return False

    def _count(self, task: Any, state: Any) -> str | None:
        product = meta_of(task).get("product")
        if product:
            self.tally.products[product] = state
            self._made_by[product] = task.name
        elif task._actions:  # `actions` makes objects of them, a tenth of a run that has nothing to do
            self.tally.tasks[task.name] = state
        return product

    def complete_run(self) -> None:
        self._ended.set()
        if self._alive is not None and self._alive.ident is not None:
            self._alive.join(_PATIENCE)
        self.failures = [failure for failure in self.failures if has_output(failure["task"])]
        super().complete_run()

    # What the engine tells.

    def conclude(self, totals: str, reasons: Mapping[str, str]) -> None:
        """Writes the last lines; `totals` says more of what there is now, `reasons` why products failed."""
        if again := self.tally.again():
            self.write(f"to try again: {again}\n")
        self.seconds_in_all = time.monotonic() - self.began
        self.write(f"{self.last_line(totals)}\n")

    def last_line(self, totals: str) -> str:
        """The line on all, once it has ended."""
        summary = self.tally.summary(self.seconds_in_all)
        return f"{summary}; {totals}" if totals else summary

    def reasons(self, failed: Failed) -> dict[str, str]:
        """Why products failed, by name; `failed` is by task."""
        return {product: outcome.reasons(failed[task]) for product, task in self._made_by.items() if task in failed}

    def _live(self) -> None:
        """Tells from time to time what is at work, until the run has ended."""
        while not self._ended.wait(max(1.0, self._written + SILENCE - time.monotonic())):
            if time.monotonic() - self._written >= SILENCE and (text := self._at_work()):
                self.write(line("working", text) + "\n")

    def _at_work(self) -> str:
        found = [(title, how_far(far, seconds)) for title, far, seconds in self.at_work()]
        return some_of([title if how == title else f"{title} ({how})" for title, how in found], _NAMED)

    def at_work(self) -> list[tuple[str, Progress | None, float]]:
        """What is at work, that of the longest time first: its title, how far it is, since how many seconds; where
        no task is, the run itself."""
        now, jobs = time.monotonic(), progress.jobs()
        running = sorted(self.times.running.copy().items(), key=lambda one: one[1][1])
        found = [(task.title(), jobs.pop(name, None), now - began) for name, (task, began) in running]
        found += [(name, far, 0.0) for name, far in jobs.items() if far.step == "publishing"]
        if not found and (stage := stages.now()):
            return [(str(stage), None, now - stage.since)]
        return found
