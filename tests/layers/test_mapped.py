"""The content of a tar is the same whether it can be mapped or not."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from c2wtasks.layers import mapped, sameness
from c2wtasks.layers.tarindex import read_entries
from tests.support.images import Dir, File, Hardlink, Symlink
from tests.support.tars import tar

TAR = tar({"d/": Dir(), "d/" + "long" * 60: File(content="x" * 3000), "h": Hardlink("d/a"), "s": Symlink("t" * 200)})
ERRORS = [errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EINVAL]


def refusing(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    class Refusing(mapped.mmap):
        def __new__(cls, *_args: object, **_options: object) -> Refusing:
            raise OSError(error, "no mapping here")

    monkeypatch.setattr(mapped, "mmap", Refusing)


@pytest.mark.parametrize("error", [None, *ERRORS])
def test_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None) -> None:
    path = tmp_path / "tar"
    path.write_bytes(TAR)
    if error is not None:
        refusing(monkeypatch, error)
    with path.open("rb") as stream, mapped.content(stream.fileno()) as content:
        assert isinstance(content, mapped.Unmapped) == (error is not None)
        assert list(read_entries(content)) == list(read_entries(TAR))
        assert len(content) == len(TAR)
        assert content[100:200] == TAR[100:200]
        assert content[len(TAR) - 5 : len(TAR) + 5] == TAR[-5:]
        assert content[20:10] == b""
        assert mapped.forget(content, 0, 10_000) == 8192
        assert content[:4096] == TAR[:4096]


@pytest.mark.parametrize("error", [None, errno.ENODEV])
def test_compared_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"-" + b"same" * 1000)
    other.write_bytes(b"same" * 1000 + b"not")
    (tmp_path / "empty").touch()
    if error is not None:
        refusing(monkeypatch, error)
    tars = sameness.MappedTars()
    assert tars.same(str(one), 1, str(other), 0, 4000)
    assert not tars.same(str(one), 1, str(other), 0, 4001)
    assert not tars.same(str(one), 0, str(other), 0, 10)
    assert not tars.same(str(one), 0, str(tmp_path / "gone"), 0, 1)
    assert not tars.same(str(one), 0, str(tmp_path / "empty"), 0, 1)
    tars.close()


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "tar"
    path.touch()
    with path.open("rb") as stream, mapped.content(stream.fileno()) as content:
        assert content == b""


def test_what_is_wrong_with_the_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tar"
    path.write_bytes(TAR)
    refusing(monkeypatch, errno.EIO)
    with path.open("rb") as stream, pytest.raises(OSError, match="no mapping"), mapped.content(stream.fileno()):
        pass
