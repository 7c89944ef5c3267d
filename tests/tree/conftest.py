"""What the tests of trees share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rootfs.making import Making


@pytest.fixture
def make(tmp_path: Path) -> Making:
    """Makes layers with their tree, in a folder of the test's own."""
    return Making(tmp_path)
