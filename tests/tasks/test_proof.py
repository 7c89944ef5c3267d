"""doit's memory is lost: forms of a root prove themselves, with a folder of the root beside them and without."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.tree import treefile
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.running import executed, run_doit

WEB = "web@linux/amd64"
AT = "bundles/web/linux-amd64"
FORMS: list[Any] = ["tar", {"form": "ext4", "journal": True}, {"form": "iso", "tree": "vm"}, "context"]
PARTS = "bundles/.parts/web/linux-amd64"


def formed(folder: Path, forms: list[Any], **settings: Any) -> None:
    """bundle.yaml with the image `web`, in these forms."""
    boot = {"preset": "wasi-wizer"}
    write_catalog(folder, {"web": {"source": "oci:web", "rootfs": forms, "boot": boot} | settings})


def made_by(forms: list[Any]) -> set[str]:
    """All tasks of the bundle that has these forms."""
    names = {one if isinstance(one, str) else {"iso": "iso-vm"}.get(one["form"], one["form"]) for one in forms}
    return {
        *(f"rootfs:{WEB}:{name}" for name in names),
        *(f"{one}:{WEB}" for one in ("tree", "spec", "boot", "bundle")),
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / AT).rglob("*") if path.is_file()}


@pytest.fixture(params=[FORMS, ["dir", *FORMS], ["9p", "tar"]], ids=["files", "with dir", "with 9p"])
def forms(request: pytest.FixtureRequest, tmp_path: Path) -> list[Any]:
    """What tmp_path has `web` in."""
    small_catalog(tmp_path)
    formed(tmp_path, request.param)
    assert run_doit(tmp_path).exit == 0
    found: list[Any] = request.param
    return found


def test_no_form_is_made_again(forms: list[Any], tmp_path: Path) -> None:
    before = (tmp_path / AT).stat().st_ino, contents(tmp_path)
    (tmp_path / ".doit.db").unlink()
    assert run_doit(tmp_path, "why")[:2] == (1, "catalog: never built\n")
    assert executed(tmp_path) == {"catalog"}
    assert ((tmp_path / AT).stat().st_ino, contents(tmp_path)) == before
    assert executed(tmp_path) == set()
    (tmp_path / ".doit.db").unlink()  # and again, of what was not made by this memory
    assert executed(tmp_path) == {"catalog"}
    formed(tmp_path, forms, process={"cwd": "/srv"})
    holding = {f"rootfs:{WEB}:{name}" for name in ("iso-vm", "context")} & made_by(forms)
    assert executed(tmp_path) == {*holding, f"spec:{WEB}", f"bundle:{WEB}", "catalog"}
    assert run_doit(tmp_path, "verify").exit == 0


def kept_times(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Changes a file and leaves no trace in its times, nor in those of its folder."""

    def changed(path: Path) -> None:
        before = {one: one.stat() for one in (path, path.parent)}
        change(path)
        for one, found in before.items():
            if one.exists():
                os.utime(one, ns=(found.st_atime_ns, found.st_mtime_ns))

    return changed


def bit(at: float) -> Callable[[Path], object]:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(at * (len(content) - 1))] ^= 1
        path.write_bytes(content)

    return kept_times(flip)


def in_its_place(path: Path, other: Path) -> None:
    """A copy, under the name."""
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


def blob(folder: Path) -> Path:
    """The largest file of `context`."""
    return max((folder / AT / "context/blobs").rglob("*"), key=lambda path: path.stat().st_size)


def another_tree(path: Path) -> None:
    """Another tree, good as such, written over ours."""
    tree = treefile.decode(path.read_bytes())
    tree.nodes[1].mode ^= 0o100
    path.write_bytes(treefile.encode(tree))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a form, its first bit": lambda folder: bit(0)(folder / AT / "rootfs.tar"),
    "a form, its last bit": lambda folder: bit(1)(folder / AT / "rootfs.ext4"),
    "a form, in the middle": lambda folder: bit(0.5)(folder / AT / "vm.iso"),
    "a form, cut short": lambda folder: kept_times(lambda path: os.truncate(path, 1000))(folder / AT / "rootfs.ext4"),
    "a form, emptied": lambda folder: kept_times(lambda path: os.truncate(path, 0))(folder / AT / "rootfs.tar"),
    "a form, longer": lambda folder: kept_times(lambda path: os.truncate(path, 1 << 24))(folder / AT / "rootfs.ext4"),
    "a form is gone": lambda folder: kept_times(Path.unlink)(folder / AT / "rootfs.ext4"),
    "a form is a copy": lambda folder: kept_times(lambda path: in_its_place(path, folder / "x"))(
        folder / AT / "rootfs.tar"
    ),
    "a form is a folder": lambda folder: kept_times(lambda path: (path.unlink(), path.mkdir()))(
        folder / AT / "rootfs.tar"
    ),
    "in a form, a bit": lambda folder: bit(0.5)(blob(folder)),
    "in a form, gone": lambda folder: kept_times(Path.unlink)(folder / AT / "context/build.sh"),
    "in a form, a FIFO": lambda folder: kept_times(lambda path: (path.unlink(), os.mkfifo(path)))(
        folder / AT / "context/build.sh"
    ),
    "in a form, a copy": lambda folder: kept_times(lambda path: in_its_place(path, folder / "x"))(blob(folder)),
    "what is kept, a copy": lambda folder: in_its_place(folder / PARTS / "form-ext4/rootfs.ext4", folder / "x"),
    "what is kept, gone": lambda folder: (folder / PARTS / "form-context/context/build.sh").unlink(),
    "what is known of it, a bit": lambda folder: bit(0.5)(folder / PARTS / "form-ext4.json"),
    "what is known of it, its end": lambda folder: bit(0.95)(folder / PARTS / "form-tar.json"),
    "what is known of it, no text": lambda folder: (folder / PARTS / "form-tar.json").write_bytes(
        b'{"madeOf":"\xff","files":{}}'
    ),
    "what is known of it, of another": lambda folder: (folder / PARTS / "form-tar.json").write_bytes(
        (folder / PARTS / "form-ext4.json").read_bytes()
    ),
    "what is known of it, less than now": lambda folder: (folder / PARTS / "form-tar.json").write_text(
        '{"files":{}}'
    ),
    "what is known of it, gone": lambda folder: (folder / PARTS / "form-ext4.json").unlink(),
    "the tree, a bit": lambda folder: bit(0.9)(folder / PARTS / "tree"),
    "the tree, another": lambda folder: another_tree(folder / PARTS / "tree"),
    "the tree, gone": lambda folder: (folder / PARTS / "tree").unlink(),
    "spec.json": lambda folder: bit(0.5)(folder / AT / "spec.json"),
    "bundle.json": lambda folder: bit(0.5)(folder / AT / "bundle.json"),
    "something put in": lambda folder: (folder / AT / "stray").touch(),
    "a copy of the bundle": lambda folder: (
        (folder / AT).rename(folder / "x"),
        shutil.copytree(folder / "x", folder / AT, copy_function=os.link),
    ),
    "nothing noted": lambda folder: (folder / PARTS / "standing").unlink(),
    "a damaged note": lambda folder: (folder / PARTS / "standing").write_bytes(b"[\xff"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_no_damaged_form_is_adopted(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    small_catalog(tmp_path)
    formed(tmp_path, FORMS)
    assert run_doit(tmp_path).exit == 0
    before = contents(tmp_path)
    (tmp_path / ".doit.db").unlink()
    damage(tmp_path)
    assert executed(tmp_path) - {"catalog"} == made_by(FORMS)
    assert contents(tmp_path) == before
    assert executed(tmp_path) == set()
    assert run_doit(tmp_path, "verify").exit == 0


OTHERWISE: dict[str, tuple[list[Any], list[Any], dict[str, Any]]] = {
    "preset": (FORMS, FORMS, {"boot": {"preset": "js"}}),
    "preset, with a folder": (["dir", "context"], ["dir", "context"], {"boot": {"preset": "js"}}),
    "boot": (FORMS, FORMS, {"boot": {"preset": "wasi-wizer", "debug": True}}),
    "process": (FORMS, FORMS, {"process": {"args": ["other"]}}),
    "sbom": (FORMS, FORMS, {"sbom": ["spdx"]}),
    "same_owner": (FORMS, FORMS, {"same_owner": False}),
    "an option": (["tar", {"form": "ext4", "journal": True}], ["tar", "ext4"], {}),
    "a form more": (FORMS, [*FORMS, "cpio"], {}),
    "a form less": (FORMS, FORMS[1:], {}),
    "a folder, too": (FORMS, [*FORMS, "dir"], {}),
    "the folder alone": (["tar", "dir"], ["dir"], {}),
    "a folder elsewhere": (["9p", "tar"], ["dir", "tar"], {}),
}


@pytest.mark.parametrize(("before", "then", "settings"), OTHERWISE.values(), ids=OTHERWISE)
def test_no_form_of_other_settings_is_adopted(
    tmp_path: Path, before: list[Any], then: list[Any], settings: dict[str, Any]
) -> None:
    small_catalog(tmp_path)
    formed(tmp_path, before)
    assert run_doit(tmp_path).exit == 0
    (tmp_path / ".doit.db").unlink()
    formed(tmp_path, then, **settings)
    assert executed(tmp_path) == {*made_by(then), "catalog"}
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "web").symlink_to(tmp_path / "web")
    formed(fresh, then, **settings)
    assert run_doit(fresh).exit == 0
    assert contents(tmp_path) == contents(fresh)
    assert run_doit(tmp_path, "verify").exit == 0


def test_what_was_made_but_never_published_is_not_adopted(tmp_path: Path) -> None:
    """The private parts of a bundle may be ahead of the published one, whose record is of today's settings again."""
    small_catalog(tmp_path)
    formed(tmp_path, ["context", "ext4"])
    assert run_doit(tmp_path).exit == 0
    before = contents(tmp_path)
    formed(tmp_path, ["context", {"form": "ext4", "size": 1024}], boot={"preset": "js"})
    assert run_doit(tmp_path).exit == 1  # the disk is too small
    assert b"--target=js" in (tmp_path / PARTS / "form-context/context/build.sh").read_bytes()
    assert contents(tmp_path) == before
    (tmp_path / ".doit.db").unlink()
    formed(tmp_path, ["context", "ext4"])
    assert executed(tmp_path) - {"catalog"} == made_by(["context", "ext4"])
    assert contents(tmp_path) == before
    assert executed(tmp_path) == set()
