"""The two ways to open what lies below a folder: with `openat2`, and by parts where the kernel lacks it."""

from __future__ import annotations

import pytest

from c2wtasks.disk import clib

WAYS = ["openat2", "by parts"]


def take(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process open in that way."""
    if way == "by parts":
        monkeypatch.setattr(clib, "openat2", lambda: None)
    elif clib.openat2() is None:
        pytest.skip("this kernel has no openat2")
