"""What others read in an ISO 9660 image: Linux, xorriso, bsdtar; as lines like those of `tests.support.roots`."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from c2wtasks import files
from tests.support import roots

PROJECT = Path(__file__).parents[2]
_PACKAGES = {"bsdtar": "libarchive-tools", "xorriso": "xorriso"}
_POWER_OFF = 0x4321FEDC
_READ_ONLY = 1
_FINIT_MODULE = 313


def linux(image: Path) -> tuple[list[str], list[int]]:
    """What the file system `iso9660` of a real kernel shows, run as a process; and how many names each file
    says it has."""
    kernel = shutil.which("linux.uml")
    if kernel is None:
        pytest.skip("needs linux.uml: install Debian's user-mode-linux")
    modules = Path(kernel).parents[1] / "lib/uml/modules"
    answer = image.with_suffix(".answer")
    done = subprocess.run(
        [
            *[kernel, "mem=512M", "rootfstype=hostfs", "rootflags=/", "rw", f"ubd0r={image}", "con=null"],
            *["con0=fd:0,fd:1", f"PYTHONPATH={PROJECT}", f"init={sys.executable}"],
            *["--", __file__, str(modules), str(answer)],
        ],
        env={"HOME": str(image.parent), "TMPDIR": str(image.parent), "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
        check=False,
    )
    if unfit := re.search(r"^userspace - ptrace .*failed.*", done.stdout, re.MULTILINE):  # before any program runs
        pytest.skip(f"linux.uml runs no program on this machine: {unfit[0]}")
    assert answer.exists(), done.stdout
    lines, links = json.loads(answer.read_text())
    return lines, links


def extracted(reader: str, image: Path) -> list[str]:
    """What `bsdtar` or `xorriso` extracts."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give files their owners")
    if shutil.which(reader) is None:
        pytest.skip(f"needs {reader}: install Debian's {_PACKAGES[reader]}")
    folder = image.with_suffix(f".{reader}")
    folder.mkdir()
    command = {
        "bsdtar": ["bsdtar", "-xpf", image, "-C", folder, "--numeric-owner"],
        "xorriso": ["xorriso", "-osirrox", "on", "-hardlinks", "on", "-indev", image, "-extract", "/", folder],
    }[reader]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stderr
    lines = roots.of_folder(str(folder))
    files.remove_tree(str(folder))
    return lines


def _guest(modules: str, answer: str) -> None:
    """Runs as the first process of that kernel."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        for module in ("drivers/cdrom/cdrom.ko", "fs/isofs/isofs.ko"):
            with open(f"{modules}/{os.uname().release}/kernel/{module}", "rb") as stream:
                assert libc.syscall(_FINIT_MODULE, stream.fileno(), b"", 0) == 0, os.strerror(ctypes.get_errno())
        subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
        done = libc.mount(b"/dev/ubda", b"/mnt", b"iso9660", _READ_ONLY, None)
        assert done == 0, os.strerror(ctypes.get_errno())
        lines, links = roots.of_folder("/mnt"), _link_counts(os.open("/mnt", os.O_RDONLY))
        with open(answer + ".part", "w") as stream:
            json.dump([lines, links], stream)
        os.rename(answer + ".part", answer)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        libc.reboot(_POWER_OFF)


def _link_counts(folder: int) -> list[int]:
    """Of the folder and all below it, in the order of `roots.of_folder`."""
    counts = [os.fstat(folder).st_nlink]
    for name in sorted(map(os.fsencode, os.listdir(folder))):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            counts += _link_counts(os.open(name, os.O_RDONLY, dir_fd=folder))
        else:
            counts.append(found.st_nlink)
    os.close(folder)
    return counts


if __name__ == "__main__":
    _guest(sys.argv[1], sys.argv[2])  # the kernel adds words of its own
