"""The runner that takes tasks in threads: doit's own, with what we ask of it beyond that."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import doit.runner
from doit.action import PythonAction
from doit.runner import JobHold, JobTaskPickle

from c2wtasks.engine.interrupt import stop_threads
from c2wtasks.engine.meta import is_brief
from c2wtasks.engine.runner import Runner
from c2wtasks.process.beginning import started

_TOO_SHORT = 0.2  # seconds, of which nothing can be told


class _Pace:
    """Whether what is done in this thread waits more than it works."""

    def __init__(self) -> None:
        self._wall = self._cpu = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        wall, cpu = time.monotonic(), time.thread_time()
        yield
        self._wall += time.monotonic() - wall
        self._cpu += time.thread_time() - cpu

    def waits(self) -> bool:
        return self._wall > _TOO_SHORT and self._cpu < self._wall / 2


class ThreadRunner(Runner, doit.runner.MThreadRunner):  # type: ignore[misc]
    """Runs tasks in threads. What is up to date is still decided in the main one, which does brief tasks itself:
    threads that make short calls in turn wait for the interpreter more than they work. Where brief tasks turn out to
    wait for something else, such as a slow file system, threads do them as well."""

    # A signal that arrives while a `queue.Queue` gives its lock back leaves it locked for good.
    Queue: Any = staticmethod(queue.SimpleQueue)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._threads: list[threading.Thread] = []
        self._jobs: Any = None
        self._results: Any = None
        self._ended: list[Any] = []  # nodes of tasks of which the dispatcher does not know yet
        self._pace = _Pace()
        self._spare: list[Any] = []  # jobs that no thread has been given yet
        super().__init__(*args, **kwargs)

    def execute_task(self, task: Any) -> Any:
        if all(isinstance(action, PythonAction) for action in task.actions):
            task.io.capture = False  # doit captures by replacing sys.stdout, which all threads share
        return super().execute_task(task)

    def _run_start_processes(self, job_q: Any, result_q: Any) -> list[threading.Thread]:
        """Starts threads as doit does, but makes do with as many as there are to be had.

        Raises RuntimeError: there is none.
        """
        self._jobs, self._results = job_q, result_q
        while len(self._threads) < self.num_process and (job := self.get_next_job(None)) is not None:
            thread = self.Child(target=self.execute_task_subprocess, args=(job_q, result_q, None))
            if not started(thread):
                if not self._threads:
                    raise RuntimeError("can't start new thread")
                if job.type is JobHold.type:
                    self.free_proc -= 1
                else:
                    self._spare.append(job)
                break
            self._threads.append(thread)
            job_q.put(job)
        return self._threads

    def get_next_job(self, completed: Any) -> Any:
        if completed is None and self._spare:
            return self._spare.pop()
        job = self._next_job(completed)
        if not self._spare or (job is not None and job.type is not JobHold.type):
            return job
        self.free_proc -= job is not None
        return self._spare.pop()

    def _next_job(self, completed: Any) -> Any:
        """What a thread is to do next, as doit's own gives it, with brief tasks done on the way to it; unless a
        thread has ended another meanwhile, of which the dispatcher has to know first."""
        self._ended.append(completed)
        while not self._stop_running:
            try:
                node = self._dispatcher.generator.send(self._ended.pop() if self._ended else None)
            except StopIteration:
                return None
            if node == "hold on":
                if not self._ended:
                    break
            elif not self.select_task(node, self.tasks):
                self._ended.append(node)
            elif not is_brief(node.task) or self._pace.waits():
                return JobTaskPickle(node.task)
            else:
                with self._pace.measured():
                    failure = self.execute_task(node.task)
                self.process_task_result(node, failure)
                self._ended.append(node)
                if not self._results.empty():
                    break
        else:
            return None
        self.free_proc += 1
        return JobHold()

    def _abandon(self) -> None:
        for _thread in self._threads:
            self._jobs.put(None)  # ends one that waits for a task
        self.executor.stop()  # and those that wait for a worker
        stop_threads(self._threads, within=0.5)
        super()._abandon()
