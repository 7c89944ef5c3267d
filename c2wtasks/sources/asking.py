"""Looking images up in registries: many at once, and every registry for itself, so that one which is slow or gone
keeps nobody waiting but those that need it."""

from __future__ import annotations

import os
import pickle
import select
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.errors import UserError
from c2wtasks.process.beginning import started
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.sources.model import Image

if TYPE_CHECKING:
    import socket

Answer = Image | UserError

_AT_ONCE = 8  # look-ups in one registry


class Asking:
    """Look-ups of `bundles`, which go on in a process of their own while this one does other things.

    That process is forked while this one has one thread; and since it has the other threads, this one may go on to
    fork workers. Where there can be none, the look-ups are made here, when their answers are waited for.
    """

    def __init__(self, ask: Callable[[Bundle], Answer], bundles: Sequence[Bundle]) -> None:
        self.left: dict[str, Bundle] = {str(bundle): bundle for bundle in bundles}
        self._ask = ask
        self._pid = 0
        self._answers: socket.socket | None = None
        if bundles and threading.active_count() == 1:
            from c2wtasks.process.forking import forked  # most runs ask for nothing, and are spared loading this

            try:
                self._pid, self._answers = forked(self._serve)
            except OSError:  # no process to be had
                pass

    def answers(self, first: float | None = None, then: float | None = None) -> Iterator[tuple[Bundle, Answer]]:
        """The answers that are not given yet, as they come, until all are here, or none has come: for `first` seconds
        at the beginning, and for `then` seconds after the last one. Where these are None, they are waited for without
        end."""
        if self._answers is None:
            yield from self._asked_here()
            return
        within = first
        while self.left:
            if not select.select([self._answers], [], [], within)[0]:
                return
            within = then
            came = _received(self._answers)
            if came is None:  # it was killed: what it was at is asked for once more
                self.close()
                yield from self._asked_here()
                return
            name, answer = came
            yield self.left.pop(name), answer
        self.close()

    def give_up(self) -> list[Bundle]:
        """Ends the look-ups that go on, and gives the bundles that are left without an answer."""
        self.close()
        left = list(self.left.values())
        self.left.clear()
        return left

    def close(self) -> None:
        """Ends the look-ups that go on, and their process."""
        if self._answers is not None:
            self._answers.close()
            self._answers = None
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)

    def _asked_here(self) -> Iterator[tuple[Bundle, Answer]]:
        for name, answer in _ask_all(self._ask, list(self.left.values())):
            yield self.left.pop(name), answer

    def _serve(self, to: socket.socket) -> None:
        for name, answer in _ask_all(self._ask, list(self.left.values())):
            content = _packed(name, answer)
            to.sendall(len(content).to_bytes(8, "big") + content)


def _packed(name: str, answer: Answer) -> bytes:
    try:
        return pickle.dumps((name, answer))
    except Exception as error:  # it holds something that cannot pass
        return pickle.dumps((name, as_user_error(error)))


def _received(stream: socket.socket) -> tuple[str, Answer] | None:
    """One answer; None where there comes no more."""
    size = _exactly(stream, 8)
    content = _exactly(stream, int.from_bytes(size, "big")) if size else b""
    if not content:
        return None
    received: tuple[str, Answer] = pickle.loads(content)
    return received


def _exactly(stream: socket.socket, size: int) -> bytes:
    """The next `size` bytes; none where the stream ends before."""
    content = bytearray()
    while len(content) < size:
        try:
            part = stream.recv(size - len(content))
        except OSError:
            part = b""
        if not part:
            return b""
        content += part
    return bytes(content)


def _ask_all(ask: Callable[[Bundle], Answer], bundles: Sequence[Bundle]) -> Iterator[tuple[str, Answer]]:
    """The answers, as they come, from threads, some for each registry.

    The threads are not those of a pool, which would be waited for when the process ends, each until its server
    answers.
    """
    waiting: dict[str, deque[Bundle]] = {}
    for bundle in bundles:
        waiting.setdefault(bundle.path.partition("/")[0], deque()).append(bundle)
    came: SimpleQueue[tuple[str, Answer]] = SimpleQueue()

    def work(of_one: deque[Bundle]) -> None:
        while True:
            try:
                bundle = of_one.popleft()
            except IndexError:
                return
            came.put((str(bundle), ask(bundle)))

    for of_one in waiting.values():
        for number in range(min(_AT_ONCE, len(of_one))):
            if not started(threading.Thread(target=work, args=(of_one,), daemon=True)):
                if number == 0:
                    work(of_one)
                break
    for _ in bundles:
        yield came.get()
