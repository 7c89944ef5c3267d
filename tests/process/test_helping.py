"""Helpers of a worker: each piece is done once, whoever does it; they come where there is room, and go again."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from c2wtasks.errors import OutputError, UserError
from c2wtasks.process import helping, seats
from c2wtasks.process.forking import forked
from c2wtasks.process.helping import MOST, Helpers
from tests.support.child import in_child


def as_worker(workers: int, function: Callable[[], str | None]) -> str:
    """What the function returns in a process that is the busy one of so many workers."""

    def child() -> str | None:
        seats.set_out(workers)
        seats.sit(0)
        with seats.busy():
            return function()

    return in_child(child)


def shared_out(count: int) -> list[list[int]]:
    """The pieces that this process has done, and each of its helpers."""
    here: list[int] = []

    def work() -> list[int]:
        for piece in helpers.work():
            here.append(piece)
            time.sleep(0.002)
        return here

    with closing(Helpers(count, lambda: [*map(int, work()), -os.getpid()])) as helpers:
        work()
        done = helpers.results()
        assert all(-one[-1] != os.getpid() for one in done)
        assert seats.claim() is not None or not done, "a seat is still taken"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    return [here, *(one[:-1] for one in done)]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_each_piece_is_done_once(workers: int) -> None:
    def child() -> str:
        done = shared_out(100)
        first = done[0]
        theirs = [[piece for piece in one if piece not in first] for one in done[1:]]
        assert sorted(sum(theirs, first)) == list(range(100))
        return str(len(done))

    assert as_worker(workers, child) == str(workers)


def test_as_many_as_there_may_be() -> None:
    as_worker(1, lambda: str(sorted(shared_out(MOST)[0]) == list(range(MOST)) or 1 / 0))


def test_who_is_no_worker_does_all_alone() -> None:
    assert in_child(lambda: str(len(shared_out(20)))) == "1"


def test_one_piece_needs_no_help() -> None:
    assert as_worker(4, lambda: str(len(shared_out(1)))) == "1"


def test_nobody_helps_while_all_are_busy() -> None:
    def child() -> str:
        assert seats.claim() is not None
        return str(len(shared_out(20)))

    assert as_worker(2, child) == "1"


def test_none_comes_where_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it takes longer to fork a process than that process lives."""
    made = []

    def slowly(serve: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
        made.append(forked(serve))
        assert len(made) < 20
        select.select([made[-1][1]], [], [])  # what it says as it ends
        return made[-1]

    monkeypatch.setattr(helping, "forked", slowly)
    assert int(as_worker(3, lambda: str(sum(map(len, shared_out(4)))))) == 4
    assert int(as_worker(3, lambda: str(len(shared_out(4)) - 1))) <= 3


def test_a_helper_goes_when_another_worker_begins() -> None:
    def child() -> str:
        def help_out() -> int:
            begun, done = [], 0
            for _ in helpers.work():
                done += 1
                seats.sit(1)
                begun.append(seats.busy())  # as the other worker does that gets a task
                begun[-1].__enter__()
            return done

        with closing(Helpers(40, help_out)) as helpers:
            for _ in helpers.work():
                time.sleep(0.002)
            assert set(helpers.results()) <= {0, 1}
        return "done"

    assert as_worker(2, child) == "done"


def test_an_error_of_a_helper_is_raised() -> None:
    def child() -> str:
        def help_out() -> None:
            raise OutputError("out: no space", hint="make room")

        with closing(Helpers(9, help_out)) as helpers:
            for _ in helpers.work():
                time.sleep(0.001)
            with pytest.raises(OutputError) as caught:
                helpers.results()
        return str(caught.value)

    assert as_worker(2, child) == "out: no space; make room"


def test_a_helper_that_is_killed_is_told() -> None:
    def child() -> str:
        with closing(Helpers(9, lambda: os.kill(os.getpid(), signal.SIGKILL))) as helpers:
            for _ in helpers.work():
                time.sleep(0.001)
            with pytest.raises(UserError) as caught:
                helpers.results()
        return str(caught.value)

    assert as_worker(2, child) == "a process that helped with it was killed; run again"


def test_to_close_ends_helpers_at_once() -> None:
    def child() -> str:
        begun = time.monotonic()
        with closing(Helpers(9, lambda: time.sleep(600))) as helpers:
            assert next(helpers.work()) == 0
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        assert time.monotonic() - begun < 300
        return "done"

    assert as_worker(3, child) == "done"


def test_helpers_end_with_their_worker() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        seats.set_out(2)
        seats.sit(0)
        with seats.busy():
            next(Helpers(9, lambda: time.sleep(600)).work())
            os.write(writer, b"1")
            time.sleep(600)
    os.close(writer)
    assert os.read(reader, 1) == b"1"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert os.read(reader, 1) == b""  # nobody has the other end any more
    os.close(reader)
