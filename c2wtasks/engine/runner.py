"""The runner that takes tasks one by one: doit's own, with what we ask of it beyond that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from typing import Any

import doit.runner
from doit.exceptions import DependencyError, UnmetDependency

from c2wtasks.engine.checker import Checker
from c2wtasks.engine.executor import Executor
from c2wtasks.engine.failure import Interrupted, UserFailure, guard, reason
from c2wtasks.engine.interrupt import Stopped, shielded, signals
from c2wtasks.engine.meta import blob_bytes, is_heavy, meta_of, urgency
from c2wtasks.engine.report import Report
from c2wtasks.engine.targets import record_targets, record_touched, watch_targets
from c2wtasks.engine.times import Times
from c2wtasks.errors import UserError, os_reason
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.telling import progress, stages

# So many bundles, or of so many bytes of blobs, are published together.
_TOGETHER = 64
_LARGE = 2 << 30
_PUBLISHING = "publishing"
_BRIEF = 0.1
"""Seconds: what tasks that took no longer have left is recorded together, once in so long. What is lost of that when
the run is killed takes as long again, and a commit may take longer than such a task."""

Publish = Callable[[frozenset[str]], Mapping[str, UserError]]


class _MostUrgentFirst:
    """What doit's dispatcher is ready to go on with, in the place of its deque, which has all in turn: the largest
    bundle's last steps were left to one worker in the end then, and the other was idle.
    """

    def __init__(self, ready: Iterable[Any]) -> None:
        self._numbers = count()
        self._heap: list[tuple[int, int, Any]] = []
        for node in ready:
            self.append(node)

    def __len__(self) -> int:
        return len(self._heap)

    def append(self, node: Any) -> None:
        heappush(self._heap, (-urgency(node.task), next(self._numbers), node))

    def popleft(self) -> Any:
        return heappop(self._heap)[-1]


class Runner(doit.runner.Runner):  # type: ignore[misc]
    """Runs tasks one by one.

    Beyond doit's own: it remembers which tasks failed and for which others (`failed`), when tasks were at work
    (`times`), and in the end which are as they should be (`current`); a task that was not executed keeps its record,
    so that it is still up to date once what it waits for is mended; it records the states of targets; what is to be
    published later is published, and recorded, many tasks at a time; and a signal ends it in good order (`stopped` is
    set, finished tasks are recorded). It calls `before_work` when it comes to the first task that it executes, and
    `before_heavy` when it comes to the first heavy one.
    """

    def __init__(
        self,
        *args: Any,
        executor: Executor,
        before_work: Callable[[], None],
        before_heavy: Callable[[], None],
        publish: Publish,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.executor = executor
        self._publish = publish
        self._staged: dict[str, Any] = {}
        self._before_work: Callable[[], None] | None = before_work
        self._before_heavy: Callable[[], None] | None = before_heavy
        self.checker: Checker = self.dep_manager.checker
        self.failed: dict[str, dict[str, str]] = {}
        self.current = self.done = frozenset[str]()
        self.executed = 0
        self.times = Times()
        self.stopped: Stopped | None = None
        self._running: dict[str, Any] = {}
        self._unrecorded: list[Any] = []
        self._recorded = 0.0
        self._dispatcher: Any = None

    def run_tasks(self, task_dispatcher: Any) -> None:
        watch_targets(self.dep_manager, task_dispatcher.targets)
        self._dispatcher = task_dispatcher
        stages.begin("checking tasks", len(task_dispatcher.tasks))
        try:
            super().run_tasks(task_dispatcher)
            self.publish_staged()
            self._record()
            signals.ignore()  # here: one that came between this and what tells of the run would leave that untold
        except KeyboardInterrupt as stop:
            signals.ignore()
            self.stopped = stop if isinstance(stop, Stopped) else Stopped()
            self._abandon()
        with shielded():
            record_touched(self.dep_manager, task_dispatcher.tasks, self.checker.touched)
            states = {name: node.run_status for name, node in task_dispatcher.nodes.items()}
            self.done = frozenset(name for name, state in states.items() if state == "successful")
            self.current = self.done | {name for name, state in states.items() if state == "up-to-date"}

    def select_task(self, node: Any, tasks_dict: Any) -> bool:
        signals.check()
        stages.passed()
        if not self._staged.keys().isdisjoint(node.task.task_dep):
            self.publish_staged()
            node.bad_deps = [self._dispatcher.nodes[name] for name in node.task.task_dep if name in self.failed]
        try:
            if not super().select_task(node, tasks_dict):
                return False
            # doit does not look at the dependencies of a task that it runs for a missing target
            failure = _unusable_dependency(self.checker, node.task)
        except Exception as error:  # of one of its checks
            failure = UserFailure(error)
        if failure is not None:
            self._handle_task_error(node, failure)
            return False
        if self._before_work is not None and node.task._actions:
            before_work, self._before_work = self._before_work, None
            before_work()
        if self._before_heavy is not None and is_heavy(node.task):
            before_heavy, self._before_heavy = self._before_heavy, None
            before_heavy()
            self._dispatcher.ready = _MostUrgentFirst(self._dispatcher.ready)
        if node.task._actions and isinstance(self.reporter, Report):
            self.reporter.work_begins()
        return True

    def execute_task(self, task: Any) -> Any:
        if self.stopped is not None:
            raise SystemExit  # in a thread that takes its next task while the run ends
        self._running[task.name] = task
        guard(task, self.executor)
        try:
            with self.times.of(task):
                return super().execute_task(task)
        except Exception as error:
            return UserFailure(error)

    def process_task_result(self, node: Any, base_fail: Any) -> None:
        task = node.task
        if base_fail is not None:
            signals.check()  # what went wrong while a signal's exception passed is not the task's failure
        self._running.pop(task.name, None)
        self.checker.made(task.targets)
        if base_fail is None and task.has_subtask and not task.actions:
            node.run_status = "successful"  # a group: nothing to record
            self.reporter.add_success(task)
            return
        if base_fail is None and meta_of(task).get("published_later"):
            node.run_status = "successful"  # so far: it is recorded, and said, when it is published
            self._staged[task.name] = node
            if len(self._staged) >= _TOGETHER or sum(blob_bytes(one.task) for one in self._staged.values()) > _LARGE:
                self.publish_staged()
            return
        self._settle({node: base_fail}, at_once=base_fail is not None or self.times.took(task) > _BRIEF)

    def _settle(self, ended: Mapping[Any, Any], *, at_once: bool = True) -> None:
        """Records how tasks have ended, each with its failure or None: in one transaction, which may hold those that
        end soon after, too, if they need not be recorded `at_once`."""
        for node, base_fail in ended.items():
            with self._failing(node):
                if base_fail is None:
                    record_targets(self.dep_manager, node.task)
                super().process_task_result(node, base_fail)
        self._unrecorded += ended
        if at_once or time.monotonic() - self._recorded > _BRIEF:
            self._record()
        for node in ended:
            if node.run_status == "successful":
                self.executed += 1
                self.failed.pop(node.task.name, None)  # as it was once more tried

    def _record(self) -> None:
        """Puts on record what is not yet there."""
        with self._failing(*self._unrecorded):
            self.dep_manager.backend.commit()
        self._unrecorded.clear()
        self._recorded = time.monotonic()

    @contextmanager
    def _failing(self, *nodes: Any) -> Iterator[None]:
        """What goes wrong in the block is a failure of those that had none so far."""
        try:
            yield
        except Exception as error:
            why = UserError(f"{error.filename}: {os_reason(error)}") if isinstance(error, OSError) else error
            for node in nodes:
                if node.run_status != "failure":
                    self._handle_task_error(node, UserFailure(why))

    def publish_staged(self) -> None:
        """Publishes, and records, what is ready."""
        if not self._staged:
            return
        self._record()  # to publish takes long, and what is ready need not be made again
        try:
            with progress.job(_PUBLISHING) as number:
                failed = progress.within(number, self._published, (), {})
        except Exception as error:
            signals.check()
            failed = dict.fromkeys(self._staged, as_user_error(error))
        for node in self._staged.values():
            self.checker.made(node.task.targets)
        self._settle(
            {node: UserFailure(failed[name]) if name in failed else None for name, node in self._staged.items()}
        )
        self._staged.clear()  # till then they were to run again, had a signal come

    def _published(self) -> Mapping[str, UserError]:
        progress.step("publishing")
        return self._publish(frozenset(self._staged))

    def finish(self) -> Any:
        with shielded():
            return super().finish()

    def _handle_task_error(self, node: Any, base_fail: Any) -> None:
        task = node.task
        if isinstance(base_fail, UnmetDependency):
            base_fail.report = False
            self.failed[task.name] = {
                name: why for other in node.bad_deps for name, why in self.failed[other.task.name].items()
            }
        else:
            if isinstance(base_fail, DependencyError):
                base_fail = _unusable_dependency(self.checker, task) or base_fail
            self.failed[task.name] = {task.name: reason(base_fail)}
        node.run_status = "failure"
        if task.executed:
            self.dep_manager.remove_success(task)
        self.reporter.add_failure(task, base_fail)
        self.final_result = doit.runner.FAILURE
        if not self.continue_:
            self._stop_running = True

    def _abandon(self) -> None:
        """Sees to it that the tasks that were at work run again, whatever they have left behind."""
        self.executor.stop()
        for node in self._staged.values():
            node.run_status = "failure"
            self._running[node.task.name] = node.task
        for task in self._running.values():
            self.dep_manager.remove_success(task)
            self.reporter.add_failure(task, Interrupted())


def _unusable_dependency(checker: Checker, task: Any) -> UserFailure | None:
    """What is wrong with a file that `task` needs, where doit only says that it does not exist."""
    for path in sorted(task.file_dep):
        try:
            checker.info(path)
        except OSError as error:
            return UserFailure(UserError(f"{path}: {os_reason(error)}"))
    return None
