"""What a run that was killed has left in the output folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from c2wtasks.output.places import FEEDS, HISTORY, PARTS
from c2wtasks.output.recover import recover


@pytest.mark.parametrize("folder", [".", HISTORY, FEEDS, PARTS])
def test_unfinished_files_are_removed_wherever_files_are_written(tmp_path: Path, folder: str) -> None:
    for name in (".tmp-1-left", "mine"):
        (tmp_path / folder / name).parent.mkdir(exist_ok=True)
        (tmp_path / folder / name).touch()
    recover(str(tmp_path))
    assert [path.name for path in (tmp_path / folder).iterdir() if path.is_file()] == ["mine"]
