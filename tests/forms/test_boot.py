"""The forms that a VM boots from do boot: in QEMU, with Debian's kernel, the program of an example image greets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from c2wtasks.rootfs import cpio
from tests.forms import vm
from tests.forms.vm import CDROM, VIRTIO, Root
from tests.graph.catalogs import write_catalog
from tests.rootfs import initramfs
from tests.support import nasty
from tests.support.running import run_doit

HELLO = Path(__file__).parents[2] / "examples/hello"
ROOTS = [
    Root("rootfs.cpio"),
    Root("rootfs.ext4", VIRTIO, "ext4", ("ext4",)),
    Root("rootfs.iso", CDROM, "iso9660", ("isofs",)),
    Root("vm.iso", VIRTIO, "iso9660", ("isofs",), path="/oci/rootfs"),
]
BESIDE = ("dev ", "dev/console ", "root ", "vm ", "vm/")  # what the kernel and the tests put there
SAYS = """\
Hello from hello on linux/amd64
uid 0
gid 0
cwd /tmp
arg /hello
arg what
arg Cmd says
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vm.require_all()
    folder = tmp_path_factory.mktemp("programs")
    vm.compile_programs(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image `hello` in all of these forms."""
    folder = tmp_path_factory.mktemp("boot")
    shutil.copytree(HELLO, folder / "image")
    forms = ["cpio", "ext4", "iso", {"form": "iso", "tree": "vm"}]
    write_catalog(folder, {"hello": {"source": "oci:image", "rootfs": forms}})
    done = run_doit(folder)
    assert done.exit == 0, done.stderr
    return folder / "bundles/hello/linux-amd64"


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_boots_and_greets(root: Root, bundle: Path, programs: Path, tmp_path: Path) -> None:
    image = json.loads((bundle / "image.json").read_text())["config"]
    args = [*image["Entrypoint"], *image["Cmd"]]
    said = vm.run(root, bundle / root.name, programs, tmp_path, args, image["WorkingDir"], image["Env"]).decode()
    assert said.startswith(SAYS)
    variables = said.removeprefix(SAYS).splitlines()
    assert sorted(variables) == ["env HOME=/", "env IMAGE=hello", "env PATH=/usr/bin:/", "env TERM=linux"]


def test_linux_unpacks_a_cpio_as_the_tests_of_that_form_say(programs: Path, tmp_path: Path) -> None:
    """They hold it against `initramfs.unpacked`, for which this is the proof."""
    tree, tars = nasty.nasty(tmp_path, hole=1 << 20)
    archive = tmp_path / "rootfs.cpio"
    cpio.write(tree, tars.__getitem__, str(archive))
    listed = vm.listed(Root(archive.name), archive, programs, tmp_path)
    have = [line for _, line in listed if not line.startswith(BESIDE)]
    assert have == [vm.as_listed(line) for line in initramfs.unpacked(archive.read_bytes())]
