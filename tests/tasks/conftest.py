from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine import toys


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A folder with the toy dodo.py of `toys`."""
    return toys.make(tmp_path / "toy")
