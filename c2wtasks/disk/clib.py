"""The C library, for what Python does not offer. `ctypes` is loaded by whoever asks for it first: a run with nothing
to do does without."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

CURRENT_FOLDER = -100  # AT_FDCWD
NO_LINKS = 0x04 | 0x02  # RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS
STAYING_INSIDE = 0x08 | 0x02  # RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS
_OPENAT2 = 437  # the same number on all architectures


@cache
def libc() -> Any:
    """The C library itself; errors of its functions are in `ctypes.get_errno`."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


@cache
def openat2() -> Any:
    """`openat2` as a function that gives a descriptor, or an error's number below zero; None where there is none."""
    import ctypes

    class How(ctypes.Structure):
        _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))

    syscall = getattr(libc(), "syscall", None)
    if syscall is None:
        return None

    @cache  # a few ways, in which all is opened
    def told(flags: int, mode: int, resolve: int) -> Any:
        return ctypes.byref(How(flags, mode if flags & os.O_CREAT else 0, resolve))

    size = ctypes.sizeof(How)

    def call(at: int, path: bytes, flags: int, mode: int, resolve: int = NO_LINKS) -> int:
        descriptor: int = syscall(_OPENAT2, at, path, told(flags, mode, resolve), size)
        return descriptor if descriptor >= 0 else -ctypes.get_errno()

    probe = call(CURRENT_FOLDER, b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0)
    if probe < 0:
        return None
    os.close(probe)
    return call
