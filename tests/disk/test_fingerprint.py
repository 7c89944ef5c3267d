"""Fingerprints of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from c2wtasks.disk import fingerprint


def test_a_file_is_hashed_as_its_bytes_are(tmp_path: Path) -> None:
    """Whatever its size, and where it is longer than it says."""
    for size in (0, 1, (1 << 16) - 1, 1 << 16, 1 << 20, (1 << 20) + 1):
        (tmp_path / "file").write_bytes(content := os.urandom(size))
        assert fingerprint.of_file(str(tmp_path / "file")) == fingerprint.of_bytes(content)
    assert fingerprint.of_file("/proc/self/status") != fingerprint.of_bytes(b"")
    with pytest.raises(OSError, match="not a regular file"):
        fingerprint.of_file("/dev/null")
