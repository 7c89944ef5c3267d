"""Bytes are copied in the way that the file system has, and files are linked where it has links."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from c2wtasks.layers.content import TOO_SHORT
from c2wtasks.rootfs.writing import copying

CONTENT = os.urandom(300_000)
FAILS = [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EIO]


def copied(tmp_path: Path, length: int) -> bytes:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"before" + CONTENT)
    with source.open("rb") as have, target.open("wb") as made:
        copying.copy(have.fileno(), 6, made.fileno(), length)
    return target.read_bytes()


@pytest.mark.parametrize("way", ["copy_file_range", "sendfile"])
@pytest.mark.parametrize("error", [0, *FAILS], ids=lambda error: errno.errorcode.get(error, "nothing copied"))
@pytest.mark.parametrize("after", [0, 1], ids=["at once", "in the middle"])
def test_a_way_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, error: int, after: int
) -> None:
    """It says so with an error, or copies nothing, which some have done for want of a better answer."""
    real = getattr(os, way)
    left = [after]

    def call(one: int, other: int, third: int, *more: int) -> int:
        if not left[0]:
            if error:
                raise OSError(error, os.strerror(error))
            return 0
        left[0] -= 1
        if way == "sendfile":
            return real(one, other, third, min(more[0], 70_000))
        return real(one, other, min(third, 70_000), *more)

    monkeypatch.setattr(os, way, call)
    if way == "sendfile":
        monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    assert copied(tmp_path, len(CONTENT)) == CONTENT


def test_a_source_that_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=TOO_SHORT):
        copied(tmp_path, len(CONTENT) + 1)


def test_another_error_is_no_reason_to_try_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match="full"):
        copied(tmp_path, len(CONTENT))


@pytest.mark.parametrize("error", [None, *copying.CANNOT_LINK])
def test_linked_or_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as stream:
        stream.write(b"start")
        stream.seek(5 << 20)
        stream.write(CONTENT)
        stream.truncate(20 << 20)
    source.chmod(0o640)
    os.utime(source, ns=(1, 1_234_567_890))
    if error is not None:

        def refused(*_: object, **__: object) -> None:
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr(os, "link", refused)
    copying.link_file(str(source), str(target))
    made, have = target.stat(), source.stat()
    assert (made.st_ino == have.st_ino) == (error is None)
    assert target.read_bytes() == source.read_bytes()
    assert (made.st_mode, made.st_mtime_ns, made.st_size) == (have.st_mode, have.st_mtime_ns, have.st_size)
    assert made.st_blocks <= have.st_blocks, "holes stay holes"


def test_another_error_than_one_of_links(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copying.link_file(str(tmp_path / "gone"), str(tmp_path / "target"))
    (tmp_path / "here").touch()
    with pytest.raises(FileExistsError):
        copying.link_file(str(tmp_path / "here"), str(tmp_path / "here"))
