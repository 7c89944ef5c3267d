"""Where the heavy steps of tasks run: in this process, or in processes of their own.

What is handed over, function, arguments and result, must be picklable. Layers and trees do not pass: the steps read
and write files.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from c2wtasks import locks
from c2wtasks.errors import UserError

_WORTH = 256 << 20

_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def worthwhile(size: int, busy: int) -> bool:
    """Whether worker processes, which take about a second to start, will save more time than they cost: in a run that
    had steps with so many bytes of blobs, and has so many of them to do just now."""
    return size >= _WORTH and busy > 1


class Executor(Protocol):
    @property
    def lost(self) -> bool:
        """Whether steps were cut short, and have left something unfinished."""

    def run(
        self, label: str, size: int, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """What the function returns or raises. `size` is how many bytes of blobs it has to do with.

        Raises UserError, which begins with `label`, where its process was killed.
        """

    def stop(self) -> None:
        """Ends at once what is running, as far as that is possible."""

    def close(self) -> None:
        """Ends the processes, which have nothing left to do."""


class InProcess:
    """Runs steps where they are called."""

    lost = False

    def run(
        self, label: str, size: int, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        return function(*args, **kwargs)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


class Workers:
    """Runs steps in up to `count` worker processes, each called from a thread of its own.

    Each worker has a pool for itself, so that one which is killed fails its own step and no other. Workers are
    started when they are needed, and not at all for a run that has little to do; until they have come up, which takes
    about a second, steps run in this process. They hold `lock`, the descriptor of the lock of the run, too: nobody
    else begins before the last of them is gone.
    """

    def __init__(self, count: int, lock: int) -> None:
        self.lost = False
        self._lock = lock
        self._slots = [_Slot(self) for _ in range(count)]
        self._idle: list[_Slot] = []  # those that have come up; no queue: a thread that is stopped may keep its lock
        self._counting = threading.Lock()
        self._starter: _Starter | None = None
        self._size = 0
        self._busy = 0
        self._closed = False
        self.stopped = False

    def run(
        self, label: str, size: int, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        with self._counting:
            self._size += size
            self._busy += 1
            if self._starter is None and worthwhile(self._size, self._busy):
                self._starter = _Starter()
                for one in self._slots:
                    self._starter.later(partial(self._come_up, one))
        slot = self._take()
        try:
            return slot.run(label, function, args, kwargs) if slot is not None else function(*args, **kwargs)
        finally:
            if slot is not None:
                self._idle.append(slot)
            with self._counting:
                self._busy -= 1

    def _take(self) -> _Slot | None:
        """A worker that is idle; there is one, once all have come up, as no more steps run at once than there are."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _come_up(self, slot: _Slot) -> None:
        if self._closed:
            return
        try:
            slot.pool, slot.pid = _pool(self._lock)
        finally:
            if self.stopped:
                slot.kill()
            self._idle.append(slot)

    def stop(self) -> None:
        self.stopped = True
        self.lost = self._starter is not None
        for slot in self._slots:
            slot.kill()

    def close(self) -> None:
        self._closed = True
        if self._starter is not None:
            self._starter.call(lambda: None)  # what it has begun comes to its end
        for slot in self._slots:
            slot.close()
        if self._starter is not None and not self.stopped:
            _remove_semaphores(os.getpid())  # their names are of no use any more, and we may be killed in a moment

    def start(self) -> tuple[Any, int]:
        """A new pool of one worker, and that worker's process id."""
        assert self._starter is not None
        started: tuple[Any, int] = self._starter.call(lambda: _pool(self._lock))
        return started

    def submit(self, pool: Any, *call: Any) -> Any:
        """The result of a call in the worker of `pool`."""
        assert self._starter is not None
        return self._starter.call(lambda: pool.submit(*call)).result()


class _Slot:
    """A worker, replaced by a new one when it was killed."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.pool: Any = None
        self.pid = 0

    def run(self, label: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        from loky.process_executor import BrokenProcessPool

        try:
            if self.pool is None:
                self.pool, self.pid = self._workers.start()
            if self._workers.stopped:
                self.kill()
            return self._workers.submit(self.pool, _call, function, args, kwargs)
        except BrokenProcessPool as error:
            self.pool, self.pid = None, 0
            self._workers.lost = True
            raise UserError(f"{label}: its worker {_cause(str(error))}", hint="run again") from error

    def kill(self) -> None:
        try:
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=False)
            self.pool = None


def _cause(said: str) -> str:
    """Why a worker is gone, from what the pool says of it: `... exit codes of the workers are {SIGKILL(-9)}`."""
    code = re.search(r"\((-?\d+)\)\}", said)
    number = int(code[1]) if code else 0
    if number >= 0:
        return f"ended unexpectedly (exit status {number})" if code else "could not be started or ended unexpectedly"
    why = ", perhaps by the kernel for want of memory" if -number == signal.SIGKILL else ""
    return f"was killed (signal {-number}){why}"


class _Starter:
    """A thread that starts the workers, and lives as long as this process: the kernel kills a worker when the thread
    that started it ends."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._loop, name="starter of workers", daemon=True).start()

    def call(self, function: Callable[[], Any]) -> Any:
        return self.later(function).result()

    def later(self, function: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._calls.put((function, future))
        return future

    def _loop(self) -> None:
        while True:
            function, future = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
            del function, future


def _pool(lock: int) -> tuple[Any, int]:
    import warnings
    from multiprocessing.resource_tracker import ensure_running

    from loky.backend import get_context, resource_tracker
    from loky.process_executor import ProcessPoolExecutor

    # The worker inherits that these are blocked: a terminal sends them to all, and the run sees to its workers. The
    # trackers of resources are started first, since that lifts the block.
    # A tracker tidies up after a run that was cut short, and warns, in the run's name, of what is gone already.
    with _passing_on("ignore"):
        ensure_running()
        resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    # It warns of what it misses to kill the children of workers; ours have none.
    warnings.filterwarnings("ignore", module=r"loky\.")
    pool = ProcessPoolExecutor(
        max_workers=1,
        context=get_context("loky"),
        initializer=_begin,
        initargs=(os.getpid(), _Inherited(lock)),
        env={"LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"},  # a step may take memory; its worker is not leaking it
    )
    return pool, pool.submit(os.getpid).result()


@contextmanager
def _passing_on(warning_option: str) -> Iterator[None]:
    """Processes of multiprocessing and loky that are started within the block have this option of -W, too."""
    sys.warnoptions.append(warning_option)
    try:
        yield
    finally:
        sys.warnoptions.remove(warning_option)


class _Inherited:
    """A descriptor that a worker inherits."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __getstate__(self) -> dict[str, int]:
        from multiprocessing.context import get_spawning_popen

        popen: Any = get_spawning_popen()
        return {"descriptor": popen.duplicate_for_child(self.descriptor)}


def _begin(parent: int, lock: _Inherited) -> None:
    """Prepares a worker. It keeps `lock` open."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it has died before we could ask to die with it
        os._exit(1)
    locks.act_for(parent)


def _call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return function(*args, **kwargs)


def forget(died: Iterable[str]) -> None:
    """Removes the semaphores of runs that were killed together with all their helpers. `died` is what their lock says
    of them."""
    for holder in died:
        found = re.fullmatch(r"pid (\d+) on (.*)", holder)
        if found is not None and found[2] == os.uname().nodename and not _is_running(found[1]):
            _remove_semaphores(int(found[1]))


def _is_running(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return not stream.read().rpartition(b")")[2].startswith(b" Z")
    except OSError:
        return False


def _remove_semaphores(pid: int) -> None:
    prefix = f"sem.loky-{pid}-"
    try:
        for name in os.listdir("/dev/shm"):
            if name.startswith(prefix):
                os.unlink(f"/dev/shm/{name}")
    except OSError:  # another system, or not ours
        pass
