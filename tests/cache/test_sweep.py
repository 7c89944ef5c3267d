"""What a sweep sees of a cache: all that lies in a folder of it that we make."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from c2wtasks.cache import sweep
from c2wtasks.cachedir.layout import ALGORITHMS, FOLDERS, MEMO
from c2wtasks.disk.files import TEMPORARY_PREFIX
from tests.graph.catalogs import small_catalog
from tests.support.running import run_doit

WITH_FILES = [folder for folder in FOLDERS if folder == MEMO or folder.endswith(ALGORITHMS)]


@pytest.mark.parametrize("folder", WITH_FILES)
def test_what_a_killed_run_left_in_any_folder_is_seen(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    left = tmp_path / folder / f"{TEMPORARY_PREFIX}{os.getpid()}-x"
    left.write_bytes(b"left")
    (item,) = sweep.items(str(tmp_path), time.time_ns())
    assert (item.path, item.kind, item.size) == (str(left), "temporary", 4)


def test_a_run_makes_no_other_folders(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    cache = tmp_path / "cache"
    made = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_dir()}
    assert made
    assert made <= set(FOLDERS)
    seen = {item.path for item in sweep.items(str(cache), time.time_ns())}
    beside = {str(path) for path in cache.rglob("*") if path.is_file()} - seen
    assert all(path.endswith(".tar.used") or "/locks/" in path for path in beside)
