"""Folders that a thread holds: reached by their descriptors, whatever becomes of their paths."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from c2wtasks.disk import files, safely
from c2wtasks.disk.holding import descriptor_of, held, held_if_there


def test_what_lies_in_it_is_reached_where_it_is_moved_to(tmp_path: Path) -> None:
    folder, moved = tmp_path / "folder", tmp_path / "moved"
    folder.mkdir()
    with held(str(folder)):
        folder.rename(moved)
        folder.mkdir()  # another one
        files.write(f"{folder}/file", b"x")
        assert safely.read(f"{folder}/file", 1) == b"x"
        assert safely.names(str(folder)) == ["file"]
        assert safely.lstat(f"{folder}/file").st_size == 1
        files.make_folders(f"{folder}/inner")
    assert sorted(os.listdir(moved)) == ["file", "inner"]
    assert os.listdir(folder) == []
    assert not safely.exists(f"{folder}/file")


def test_no_link_in_it_is_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    with held(str(tmp_path)):
        for path in ("link", "missing"):
            with pytest.raises(OSError, match=f"{tmp_path}/{path}") as found:
                safely.read(f"{tmp_path}/{path}", 10)
            assert found.value.errno == (errno.ELOOP if path == "link" else errno.ENOENT)


def test_it_is_held_until_the_outermost_block_ends(tmp_path: Path) -> None:
    path = str(tmp_path)
    with held(path):
        descriptor = descriptor_of(path)
        with held(path):
            assert descriptor_of(path) == descriptor
        assert descriptor_of(path) == descriptor
    assert descriptor_of(path) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor or -1)


def test_each_thread_has_its_own(tmp_path: Path) -> None:
    found: list[int | None] = []
    with held(str(tmp_path)):
        thread = threading.Thread(target=lambda: found.append(descriptor_of(str(tmp_path))))
        thread.start()
        thread.join()
    assert found == [None]


def test_what_is_not_there_is_not_held(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with held_if_there(missing):
        assert descriptor_of(missing) is None
    with pytest.raises(FileNotFoundError), held(missing):
        pass
    with files.at_work_in(missing):
        assert descriptor_of(missing) is not None
