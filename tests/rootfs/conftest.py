"""What the tests of rootfs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rootfs.making import Making


@pytest.fixture
def make(tmp_path: Path) -> Making:
    return Making(tmp_path)
