"""What others read in an ISO 9660 image: Linux, xorriso, bsdtar; as lines like those of `tests.support.roots`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from c2wtasks.disk import files
from tests.forms import vm
from tests.forms.vm import VIRTIO, Root
from tests.support import roots

_PACKAGES = {"bsdtar": "libarchive-tools", "xorriso": "xorriso"}


def linux(image: Path) -> tuple[list[str], list[int]]:
    """What the file system `iso9660` of a real kernel shows, in a VM, as vm.as_listed has it; and how many names each
    file says it has."""
    vm.require_all()
    folder = image.with_suffix(".vm")
    (folder / "programs").mkdir(parents=True)
    vm.compile_programs(folder / "programs")
    (folder / "run").mkdir()
    root = Root(image.name, VIRTIO, "iso9660", ("isofs",))
    listed = vm.listed(root, image, folder / "programs", folder / "run")
    return [line for _, line in listed], [count for count, _ in listed]


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
