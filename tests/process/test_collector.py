"""Python's collector of garbage is at work again after what it is kept from."""

from __future__ import annotations

import gc

import pytest

from c2wtasks.process import collector


def test_it_is_paused_for_the_block_alone_whatever_becomes_of_that() -> None:
    with pytest.raises(ZeroDivisionError), collector.paused():
        assert not gc.isenabled()
        raise ZeroDivisionError
    assert gc.isenabled()


def test_it_stays_off_where_it_was() -> None:
    gc.disable()
    try:
        with collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
