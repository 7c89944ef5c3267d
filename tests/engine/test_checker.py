from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from c2wtasks.disk import fingerprint
from c2wtasks.engine.checker import Checker, FileState


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all files that are hashed, in order."""
    paths: list[str] = []
    real = fingerprint.of_file

    def counting(path: str) -> str:
        paths.append(path)
        return real(path)

    monkeypatch.setattr(fingerprint, "of_file", counting)
    return paths


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file whose last change is long enough ago for its ctime to be trusted."""
    file = tmp_path / "file"
    file.write_bytes(b"content")
    settle()
    return str(file)


def settle() -> None:
    time.sleep(0.03)


def recorded(path: str) -> FileState:
    """The state an earlier run recorded of `path`."""
    state = Checker().get_state(path, None)
    assert state is not None
    return state


def modified(path: str, state: FileState, checker: Checker | None = None) -> bool:
    checker = checker or Checker()
    return checker.check_modified(path, checker.info(path), state)


def test_state_is_times_size_inode_and_content(path: str) -> None:
    found = os.stat(path)
    assert recorded(path) == [
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_size,
        found.st_ino,
        fingerprint.of_bytes(b"content"),
    ]


def test_equal_stat_is_unchanged_without_a_look_inside(path: str, hashed: list[str]) -> None:
    state = recorded(path)
    hashed.clear()
    assert not modified(path, state)
    assert hashed == []


def test_other_size_is_changed_without_a_look_inside(path: str, hashed: list[str]) -> None:
    state = recorded(path)
    hashed.clear()
    Path(path).write_bytes(b"longer content")
    assert modified(path, state)
    assert hashed == []


def test_touched_file_is_unchanged_and_hashed_once(path: str, hashed: list[str]) -> None:
    state = recorded(path)
    hashed.clear()
    os.utime(path)
    settle()
    checker = Checker()
    for _task in range(3):
        assert not modified(path, state, checker)
    assert hashed == [path]
    assert not modified(path, checker.touched[path])
    assert checker.get_state(path, state) == checker.touched[path]
    assert hashed == [path]


def test_copied_file_is_unchanged(path: str) -> None:
    state = recorded(path)
    content = Path(path).read_bytes()
    os.unlink(path)
    Path(path).write_bytes(content)
    assert not modified(path, state)


def test_same_size_and_mtime_other_content_is_changed(path: str) -> None:
    state = recorded(path)
    Path(path).write_bytes(b"CONTENT")
    os.utime(path, ns=(state[0], state[0]))
    assert os.stat(path).st_mtime_ns == state[0]
    assert modified(path, state)


def test_replaced_under_its_old_mtime_is_changed(path: str) -> None:
    state = recorded(path)
    other = f"{path}.new"
    Path(other).write_bytes(b"CONTENT")
    os.utime(other, ns=(state[0], state[0]))
    os.rename(other, path)
    assert modified(path, state)


def test_state_taken_within_a_tick_of_the_change_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _attempt in range(200):
        path.write_bytes(b"content")
        state = recorded(str(path))
        path.write_bytes(b"CONTENT")
        os.utime(path, ns=(state[0], state[0]))
        assert modified(str(path), state)


def test_untrusted_state_is_settled_by_the_next_run(tmp_path: Path, hashed: list[str]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    state = recorded(str(path))
    settle()
    checker = Checker()
    assert not modified(str(path), state, checker)
    hashed.clear()
    assert not modified(str(path), checker.touched[str(path)])
    assert hashed == []


def test_unchanged_state_is_not_computed_again(path: str, hashed: list[str]) -> None:
    state = recorded(path)
    hashed.clear()
    assert Checker().get_state(path, state) is None
    assert hashed == []


def test_changed_while_its_task_ran_is_changed_for_the_next_run(path: str) -> None:
    state = recorded(path)
    checker = Checker()
    assert not modified(path, state, checker)
    Path(path).write_bytes(b"CONTENT")  # what the task may or may not have read
    saved = checker.get_state(path, None)
    assert saved is not None
    assert modified(path, saved)


def test_hard_linked_while_its_task_ran_is_unchanged(path: str) -> None:
    checker = Checker()
    checker.info(path)
    os.link(path, f"{path}.published")
    settle()
    saved = checker.get_state(path, None)
    assert saved is not None
    assert not modified(path, saved)


def test_file_made_in_this_run_is_looked_at_anew(path: str) -> None:
    state = recorded(path)
    checker = Checker()
    assert not modified(path, state, checker)
    Path(path).write_bytes(b"CONTENT")
    checker.made([path])
    assert modified(path, state, checker)


def test_stat_is_taken_once_a_run(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checker = Checker()
    checker.info(path)
    monkeypatch.setattr(os, "stat", lambda _path: pytest.fail("a second stat"))
    checker.info(path)


@pytest.mark.parametrize("kind", ["folder", "FIFO", "device"])
def test_only_regular_files_are_dependencies(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    with pytest.raises(Checker.CheckerError, match=f"is a {kind}, where a regular file is needed"):
        Checker().info(str(path))


def test_dangling_link_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        Checker().info(str(path))
    assert not Checker().exists(str(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file_is_changed(path: str) -> None:
    state = recorded(path)
    os.chmod(path, 0)
    assert modified(path, state)


@pytest.mark.parametrize("state", [[], [1], ["1", 2, "3"]])
def test_foreign_state_is_changed(path: str, state: FileState) -> None:
    assert modified(path, state)


def test_target_without_a_state_only_has_to_exist(path: str) -> None:
    checker = Checker()
    assert checker.exists(path)
    assert not checker.exists(f"{path}.other")


def test_target_must_be_as_it_was_made(path: str) -> None:
    state = Checker().target_state(path)

    def stands() -> bool:
        checker = Checker()
        checker.watch_targets(lambda _path: state)
        return checker.exists(path)

    assert stands()
    os.utime(path)
    assert stands()
    Path(path).write_bytes(b"CONTENT")
    assert not stands()
    os.unlink(path)
    assert not stands()
    os.mkfifo(path)
    assert not stands()


def test_folder_as_target_must_have_its_mtime(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    state = Checker().target_state(str(folder))
    assert state == [folder.stat().st_mtime_ns]
    settle()
    (folder / "new").touch()
    checker = Checker()
    checker.watch_targets(lambda _path: state)
    assert not checker.exists(str(folder))


def test_target_that_is_neither_file_nor_folder_has_no_state(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert Checker().target_state(str(tmp_path / "fifo")) is None
    assert Checker().target_state(str(tmp_path / "nothing")) is None


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_in_the_place_of_what_was_made_is_another(tmp_path: Path, kind: str) -> None:
    """Even one to the very thing."""
    path = tmp_path / "made"
    path.write_bytes(b"content") if kind == "file" else path.mkdir()
    settle()
    state = Checker().target_state(str(path))
    path.rename(tmp_path / "moved")
    path.symlink_to("moved")
    checker = Checker()
    checker.watch_targets(lambda asked: state if asked == str(path) else None)
    assert not checker.exists(str(path))
    with pytest.raises(OSError, match="is a link, where a regular file is needed"):
        checker.info(str(path))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_that_its_task_made_is_told_by_its_text(tmp_path: Path, kind: str) -> None:
    for name in ("one", "other"):
        (tmp_path / name).write_bytes(b"content") if kind == "file" else (tmp_path / name).mkdir()
    path = tmp_path / "link"
    path.symlink_to("one")
    state = Checker().target_state(str(path))

    def stands() -> bool:
        checker = Checker()
        checker.watch_targets(lambda _path: state)
        return checker.exists(str(path))

    assert stands()
    if kind == "file":
        checker = Checker()
        checker.watch_targets(lambda _path: state)
        assert stat.S_ISREG(checker.info(str(path)).st_mode)
    path.unlink()
    path.symlink_to("other")
    assert not stands()
    path.unlink()
    (tmp_path / "one").rename(path)
    assert not stands()
