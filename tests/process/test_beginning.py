"""A thread begins, or there is none to be had, or an interrupt comes as it begins."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from c2wtasks.process.beginning import started


def none_left() -> None:
    raise RuntimeError("can't start new thread")


def interrupted() -> None:
    raise KeyboardInterrupt


def interrupted_in_a_lock() -> None:
    """As `with` does, where it lets go of a lock that an interrupt has kept from being taken."""
    try:
        raise KeyboardInterrupt
    finally:
        threading.Lock().release()


@pytest.mark.parametrize("after", [interrupted, interrupted_in_a_lock])
def test_an_interrupt_stays_one(monkeypatch: pytest.MonkeyPatch, after: Callable[[], None]) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda _thread: after())
    with pytest.raises(KeyboardInterrupt):
        started(threading.Thread())


def test_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda _thread: none_left())
    assert not started(threading.Thread())


def test_it_runs() -> None:
    ran = threading.Event()
    assert started(threading.Thread(target=ran.set))
    assert ran.wait(60)
