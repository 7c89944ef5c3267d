"""What the tests of the store share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.layers import receipt
from c2wtasks.layers.store import Store
from tests.layers.storing import Blobs


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """One that takes all layers for large ones: `test_small` has the others."""
    monkeypatch.setattr(receipt, "MAX_SMALL_BLOB", -1)
    monkeypatch.setattr("c2wtasks.layers.store.MAX_SMALL_TAR", -1)
    return Store(str(tmp_path / "cache/layers"))


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many bytes of blobs were read since it was last asked."""
    counted = [0]
    pread = os.pread

    def counting(descriptor: int, size: int, offset: int) -> bytes:
        content = pread(descriptor, size, offset)
        counted[0] += len(content)
        return content

    def take() -> int:
        found, counted[0] = counted[0], 0
        return found

    monkeypatch.setattr("c2wtasks.layers.store.os.pread", counting)
    return take
