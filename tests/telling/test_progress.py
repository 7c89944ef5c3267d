"""How far jobs are is seen across threads and processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from c2wtasks.engine.tally import how_far
from c2wtasks.telling import progress
from c2wtasks.telling.progress import Progress


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(progress, "_board", None)
    progress.begin()
    yield


def two_steps() -> None:
    progress.step("reading", 10)
    progress.advance(4)
    progress.advance(6)
    progress.step("writing")
    progress.advance(3)


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("where", ["here", "in a thread", "in a process"])
def test_what_a_job_has_done_is_seen(where: str) -> None:
    with progress.job("one") as one, progress.job("other") as other:
        if where == "here":
            progress.within(one, two_steps, (), {})
        elif where == "in a thread":
            thread = threading.Thread(target=progress.within, args=(one, two_steps, (), {}))
            thread.start()
            thread.join()
        else:
            pid = os.fork()
            if not pid:
                progress.within(one, two_steps, (), {})
                os._exit(0)
            os.waitpid(pid, 0)
        progress.advance(100)  # of no job
        assert one != other
        assert progress.jobs() == {"one": Progress("writing", 3, 0, 13), "other": Progress("", 0, 0, 0)}
    assert progress.jobs() == {}
    with progress.job("next"):
        assert progress.jobs() == {"next": Progress("", 0, 0, 0)}


@pytest.mark.usefixtures("counted")
def test_what_fails_is_counted_no_longer() -> None:
    def fail() -> None:
        progress.step("reading", 10)
        raise ValueError

    with pytest.raises(ValueError), progress.job("one") as number:
        progress.within(number, fail, (), {})
    progress.advance(5)
    assert progress.jobs() == {}


@pytest.mark.usefixtures("counted")
def test_more_jobs_than_there_is_room_for_go_uncounted() -> None:
    jobs = [progress.job(str(number)) for number in range(300)]
    numbers = [job.__enter__() for job in jobs]
    assert len(set(numbers) - {-1}) == len(progress.jobs()) == 256
    progress.within(-1, two_steps, (), {})
    for job in jobs:
        job.__exit__(None, None, None)
    assert progress.jobs() == {}


def test_nothing_is_counted_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_board", None)
    with progress.job("one") as number:
        assert progress.within(number, two_steps, (), {}) is None
        assert (number, progress.jobs()) == (-1, {})


@pytest.mark.parametrize(
    ("far", "text"),
    [
        (None, "2.0 s"),
        (Progress("", 0, 0, 0), "2.0 s"),
        (Progress("merging", 0, 0, 0), "merging"),
        (Progress("reading", 0, 5000, 0), "reading 0 bytes of 5.0 kB"),
        (Progress("writing", 12_100_000, 80_200_000, 0), "writing 12.1 MB of 80.2 MB"),
        (Progress("writing", 12_100_000, 0, 0), "writing 12.1 MB"),
    ],
)
def test_how_far_in_words(far: Progress | None, text: str) -> None:
    assert how_far(far, 2.0) == text
