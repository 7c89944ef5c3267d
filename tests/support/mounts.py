"""Folders on file systems of other kinds than a good local disk, to see what becomes of a run there.

    with overlay(lower, tmp_path / "m", tmp_path): ...
    with bindfs(tmp_path / "back", tmp_path / "m", "--chown-ignore"): ...

Each is made for the test, and gone after it. What needs root, a tool or a part of the kernel that is not there skips
the test, and says by name what is missing.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount file systems")


@contextmanager
def overlay(lower: Path, at: Path, scratch: Path, *options: str) -> Iterator[Path]:
    """The kernel's overlayfs: `lower` seen at `at`, with changes kept in `scratch`. That is what a container has on
    top of its image. A folder of `lower` cannot be renamed, unless the option `redirect_dir=on` is given."""
    layers = _overlay_layers(lower, scratch)
    with _mounted(at, "mount", "-t", "overlay", "-o", ",".join((*layers, *options)), "overlay", str(at)):
        yield at


@contextmanager
def fuse_overlay(lower: Path, at: Path, scratch: Path) -> Iterator[Path]:
    """The same by fuse-overlayfs, as Podman has it where it runs without root."""
    with _fuse(at, "fuse-overlayfs", "-o", ",".join(_overlay_layers(lower, scratch)), str(at)):
        yield at


def _overlay_layers(lower: Path, scratch: Path) -> tuple[str, ...]:
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir()
    work.mkdir()
    return f"lowerdir={lower}", f"upperdir={upper}", f"workdir={work}"


@contextmanager
def bindfs(folder: Path, at: Path, *options: str) -> Iterator[Path]:
    """`folder` seen at `at` through FUSE. Options that make it less able: `--chown-ignore`, `--chmod-ignore`,
    `--chown-deny`, `--chmod-deny`, `--xattr-none`, and `-o`, `direct_io`, with which a file cannot be mapped shared.
    """
    folder.mkdir(exist_ok=True)
    with _fuse(at, "bindfs", *options, str(folder), str(at)):
        yield at


@contextmanager
def exfat(disk: Path, at: Path) -> Iterator[Path]:
    """An exFAT disk in the file `disk`: no links, owners, modes or xattrs, and names that differ in case alone are
    one."""
    _disk(disk, "mkfs.exfat")
    with _loop_device(disk) as device, _fuse(at, "mount.exfat-fuse", device, str(at)):
        yield at


@contextmanager
def ignoring_case(disk: Path, at: Path) -> Iterator[Path]:
    """A disk in the file `disk` where names that differ in case alone are one, and that has links, owners and modes
    (NTFS)."""
    _disk(disk, "mkntfs", "-F", "-Q", "-q")
    with _fuse(at, "lowntfs-3g", "-o", "ignore_case,permissions", str(disk), str(at)):
        yield at


@contextmanager
def whole_seconds(disk: Path, at: Path) -> Iterator[Path]:
    """A disk in the file `disk` that keeps whole seconds only, and has all else: ext4 with small inodes."""
    _disk(disk, "mkfs.ext4", "-q", "-I", "128")
    with _loop_device(disk) as device, _mounted(at, "mount", device, str(at)):
        yield at


@contextmanager
def damaged(disk: Path, at: Path, rng: random.Random) -> Iterator[Path]:
    """A copy of a disk of `ignoring_case`, on which some files and folders cannot be read any more (EIO)."""
    content = bytearray(disk.read_bytes())
    for start in range(0, len(content), 1024):
        number = int.from_bytes(content[start + 44 : start + 48], "little")
        own = number < 64  # the file system's
        if content[start : start + 5] == b"FILE0" and not own and rng.random() < 0.1:
            content[start : start + 4] = b"BAAD"
    copy = disk.with_name(f"{disk.name}-damaged")
    copy.write_bytes(content)
    with _fuse(at, "lowntfs-3g", "-o", "ro", str(copy), str(at)):
        yield at


@contextmanager
def mounted_over(folder: Path, at: Path, *options: str) -> Iterator[Path]:
    """`folder` seen at `at`, too (a bind mount); with `ro`, to be read only."""
    with _mounted(at, "mount", "--bind", "-o", ",".join(("bind", *options)), str(folder), str(at)):
        yield at


@contextmanager
def memory(at: Path, size: str = "64m") -> Iterator[Path]:
    """A tmpfs: a disk of its own, of that size."""
    with _mounted(at, "mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(at)):
        yield at


_WITHOUT_FLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int flock(int descriptor, int operation) {
  char link[64], path[4096] = "";
  const char *folder = getenv("NO_FLOCK_BELOW");
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  if (readlink(link, path, sizeof path - 1) > 0 && strncmp(path, folder, strlen(folder)) == 0) {
    errno = atoi(getenv("FLOCK_ERROR"));
    return -1;
  }
  return ((int (*)(int, int))dlsym(RTLD_NEXT, "flock"))(descriptor, operation);
}
"""


def without_flock(scratch: Path, error: int, *, below: Path) -> dict[str, str]:
    """The environment in which `flock` fails with `error` on files below a folder, as on Lustre (ENOSYS) and on NFS
    without a lock server (ENOLCK)."""
    _needs("gcc")
    source, library = scratch / "noflock.c", scratch / "noflock.so"
    source.write_text(_WITHOUT_FLOCK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "FLOCK_ERROR": str(error), "NO_FLOCK_BELOW": f"{below}/"}


def _disk(disk: Path, *make: str) -> None:
    _needs(make[0])
    with disk.open("wb") as stream:
        stream.truncate(64 << 20)
    subprocess.run([*make, str(disk)], check=True, capture_output=True)


@contextmanager
def _loop_device(disk: Path) -> Iterator[str]:
    done = subprocess.run(["losetup", "--find", "--show", disk], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def _needs(tool: str) -> None:
    if shutil.which(tool) is None and not Path(f"/usr/sbin/{tool}").exists():
        pytest.skip(f"{tool} is not here")


@contextmanager
def _mounted(at: Path, *command: str) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount file systems")
    at.mkdir(exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{' '.join(command[:3])}: {done.stderr.strip() or done.returncode}")
    try:
        yield
    finally:  # FUSE may be at a file for a moment longer
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@contextmanager
def _fuse(at: Path, *command: str) -> Iterator[None]:
    _needs(command[0])
    if not Path("/dev/fuse").exists():
        pytest.skip("the kernel has no FUSE, or /dev/fuse is not here")
    with _mounted(at, *command):
        yield
