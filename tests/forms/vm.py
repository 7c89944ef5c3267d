"""A VM that boots Debian's kernel and runs one program of a root: of what the kernel unpacks, or of a disk.

The kernel is that of Debian's package `linux-image-cloud-amd64`, which `tests/run` unpacks into `.venv/kernel`:
installed, it would run hooks. QEMU runs it without KVM, which is not everywhere, and does not work everywhere it is.
"""

from __future__ import annotations

import lzma
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[2] / ".venv/kernel"
PROGRAMS = sorted(Path(__file__).parent.glob("*.c"))
_SECONDS = 300
_FLAGS = ["-static", "-O1", "-Wall", "-Wextra", "-Werror"]
_PACKAGES = {"qemu-system-x86_64": "qemu-system-x86", "gcc": "gcc", "bsdtar": "libarchive-tools"}


@dataclass(frozen=True)
class Drive:
    """A way of attaching a disk: an option of QEMU's `-drive`, the drivers that Linux needs, its device file."""

    option: str
    modules: tuple[str, ...]
    device: str


VIRTIO = Drive("if=virtio", ("virtio_pci", "virtio_blk"), "/vm/dev/vda")
CDROM = Drive("media=cdrom", ("ata_piix", "sr_mod"), "/vm/dev/sr0")


@dataclass(frozen=True)
class Root:
    """A file that holds a root, with the kernel modules for its file system, and the folder in it that a program has
    as its root. Without a drive it is a cpio."""

    name: str
    drive: Drive | None = None
    type: str = ""
    modules: tuple[str, ...] = ()
    path: str = ""


def require_all() -> None:
    """Skips the test where something is missing, and names it."""
    if platform.machine() != "x86_64":
        pytest.skip("needs a machine of x86_64, whose compiler makes the VM's init")
    for program, package in _PACKAGES.items():
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: install Debian's package {package}")
    if not list(KERNEL.glob("boot/vmlinuz-*")):
        pytest.skip(
            f"needs a kernel in {KERNEL}: run tests/run, which unpacks Debian's linux-image-cloud-amd64 there"
        )


def compile_programs(folder: Path) -> None:
    """Makes the programs of this folder, which are for the VM and need no other file, in `folder`."""
    for source in PROGRAMS:
        command = ["gcc", *_FLAGS, "-o", str(folder / source.stem), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "stdio.h: No such file" in done.stderr or "cannot find -lc" in done.stderr:
            pytest.skip("needs a static C library: install Debian's package libc6-dev")
        assert done.returncode == 0, done.stderr


def run(
    root: Root,
    image: Path,
    programs: Path,
    folder: Path,
    args: Sequence[str],
    cwd: str = "/",
    env: Sequence[str] = (),
) -> bytes:
    """What a program of the root, which is in the file `image`, prints when it is run as root in a VM. `programs` are
    those of `compile_programs`, which are in the VM's /vm; `folder` is an empty one to work in."""
    top = "/" if root.drive is None else f"/vm/root{root.path}"
    return _run(root, image, programs, folder, [top, cwd, *args], env)


def listed(root: Root, image: Path, programs: Path, folder: Path) -> list[tuple[int, str]]:
    """Of each entry of the root how many names it has, and its line, as list.c prints it."""
    top = "/" if root.drive is None else "/vm/root"
    root = replace(root, modules=(*root.modules, "algif_hash", "sha256_generic"))
    said = _run(root, image, programs, folder, ["/", "/", "/vm/list", top], ())
    lines = said.removesuffix(b"\n").decode("utf-8", "backslashreplace").split("\n")
    return [(int(count), line) for count, _, line in (line.partition(" ") for line in lines)]


def as_listed(line: str) -> str:
    """A line of `tests.support.roots`, in which newlines are as they are."""
    return line.replace("\n", "\\n").replace("\r", "\\r")


def _run(root: Root, image: Path, programs: Path, folder: Path, run: Sequence[str], env: Sequence[str]) -> bytes:
    """`run`: the folder of the VM that is the root of a program, where in it that runs, its path, its arguments."""
    (kernel,) = KERNEL.glob("boot/vmlinuz-*")
    initramfs = folder / "initramfs"
    disk: list[str] = []
    if root.drive is None:
        own = _archive(programs, root.modules, folder)
        # The kernel unpacks archives that follow each other, one over the other.
        initramfs.write_bytes(image.read_bytes() + own)
        place = ["none", "none"]
    else:
        initramfs.write_bytes(_archive(programs, root.drive.modules + root.modules, folder))
        disk = ["-drive", f"file={image},format=raw,readonly=on,{root.drive.option}"]
        place = [root.drive.device, root.type]
    command_line = [
        *("console=ttyS0", "loglevel=3", "panic=-1", "rdinit=/vm/init"),
        *map(_quoted, env),
        "--",
        *map(_quoted, [*place, *run]),
    ]
    command = [
        *("qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-serial", "stdio"),
        *("-kernel", str(kernel), "-initrd", str(initramfs), "-append", " ".join(command_line)),
        *disk,
    ]
    return _between(_serial_line(command))


def _quoted(word: str) -> str:
    """As the kernel's command line has it, which knows no way to write a quote."""
    assert '"' not in word
    return f'"{word}"'


def _serial_line(command: list[str]) -> bytes:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"the VM still runs after {_SECONDS} s, and said: {error.stdout!r}") from None
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.replace(b"\r\n", b"\n")


def _between(said: bytes) -> bytes:
    """What the program printed, between the lines of init.c."""
    found = re.search(rb"^init: runs\n(.*)^init: status 0\n", said, re.MULTILINE | re.DOTALL)
    assert found is not None, said.decode("utf-8", "backslashreplace")
    return found[1]


def _archive(programs: Path, modules: Iterable[str], folder: Path) -> bytes:
    """A cpio of /vm as init.c wants it. `modules` are loaded in their order, each after those that it needs."""
    shutil.copytree(programs, folder / "vm")
    for name in ("modules", "dev", "root"):
        (folder / "vm" / name).mkdir()
    files = dict.fromkeys(file for name in modules for file in _with_needed(name))
    for number, file in enumerate(files):
        (folder / f"vm/modules/{number:02}").write_bytes(_module(file))
    command = ["bsdtar", "--format=newc", "-cf", "-", "-C", str(folder), "vm"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def _module(file: Path) -> bytes:
    content = file.read_bytes()
    return lzma.decompress(content) if file.suffix == ".xz" else content


def _with_needed(module: str) -> Iterator[Path]:
    """The file of a module, after those of the modules that it needs. What has no file is built into the kernel."""
    for file in KERNEL.rglob(module.replace("_", "[_-]") + ".ko*"):  # the kernel itself knows only the one
        found = re.search(rb"\0depends=([^\0]+)\0", _module(file))
        for needed in found[1].decode().split(",") if found else []:
            yield from _with_needed(needed)
        yield file
