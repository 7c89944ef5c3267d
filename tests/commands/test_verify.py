"""`doit verify` finds every single thing that is changed, and `--repair` mends it so that a run has nothing to do."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.audit.store import check_receipt, receipts
from c2wtasks.commands.verify import _briefly
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from tests.commands.conftest import AS_ROOT, build, lay_out
from tests.graph.catalogs import write_catalog
from tests.support.hooking import hooked
from tests.support.roots import of_folder
from tests.support.running import environment, executed, run_doit

WEB = "bundles/web/linux-amd64"
ROOTFS = f"{WEB}/rootfs"
INDEX = f"{ROOTFS}/srv/index"
Change = Callable[[Path], None]
STOPPED_WHEN_MADE = """
import os, signal
import c2wtasks.audit.repair as _repair
_build = _repair.build
def _stopped(*args, **named):
    found = _build(*args, **named)
    os.kill(os.getpid(), signal.SIGINT)
    return found
_repair.build = _stopped
"""
"""Ctrl-C comes when what was damaged is made again, and is to be looked at once more."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog that each test leaves as it was."""
    return build(tmp_path_factory.mktemp("catalog"))


def verify(folder: Path, *args: str) -> tuple[int, dict[str, Any]]:
    ended = run_doit(folder, "verify", "--json", *args)
    try:
        return ended.exit, json.loads(ended.stdout)
    except ValueError:
        raise AssertionError(ended) from None


def state(folder: Path) -> list[str]:
    """All that may not change by being looked at, and must be the same again after mending."""
    lines = of_folder(str(folder / WEB)) + of_folder(str(folder / "bundles/db/linux-amd64"))
    store = sorted(path for path in (folder / "cache/layers").rglob("*") if path.is_file())
    contents = {path: b"a time" if path.suffix == ".used" else path.read_bytes() for path in store}
    return lines + [f"{path.relative_to(folder)} {content!r}" for path, content in contents.items()]


def content(state: list[str]) -> list[str]:
    """The same without the times of files beside roots, which tell when these were made again."""
    return [re.sub(r"^((?!rootfs/)\S+ f \d+ \d+:\d+) \d+", r"\1", line) for line in state]


# What is changed, by name: where (the one file that fits), and how.


def keep_times(change: Change) -> Change:
    """Changes a file and leaves its times as they were, and those of its folder."""

    def changed(path: Path) -> None:
        before = {one: one.lstat() for one in (path, path.parent)}
        change(path)
        for one, found in before.items():
            if one.exists() or one.is_symlink():
                os.utime(one, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)

    return changed


def flip(at: float, bit: int = 0) -> Change:
    """Flips one bit, `at` a part of the file's length."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(at * (len(content) - 1))] ^= 1 << bit
        path.write_bytes(content)

    return keep_times(change)


def flip_in(word: bytes) -> Change:
    """Flips the lowest bit of the last digit of the first decimal number behind `word`: it is a number still."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        at = content.index(word) + len(word)
        while not content[at : at + 1].isdigit() or content[at + 1 : at + 2].isdigit():
            at += 1
        content[at] ^= 1
        path.write_bytes(content)

    return keep_times(change)


def chown(uid: int, gid: int) -> Change:
    def change(path: Path) -> None:
        mode = path.lstat().st_mode
        os.chown(path, uid, gid, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(mode & 0o7777)

    return change


def mtime(ns: int) -> Change:
    def change(path: Path) -> None:
        found = path.lstat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns ^ ns), follow_symlinks=False)

    return change


def replace(make: Change) -> Change:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return keep_times(change)


def like(path: Path, source: Path) -> None:
    shutil.copy2(source, path)
    shutil.copystat(source, path)


def device(major: int, minor: int) -> Change:
    def make(path: Path) -> None:
        os.mknod(path, 0o020666, os.makedev(major, minor))
        path.chmod(0o666)

    return replace(make)


def unlinked(path: Path) -> None:
    """A copy in place of a hard link."""
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    os.rename(copy, path)


def linked_to(other: str) -> Change:
    def make(path: Path) -> None:
        os.link(path.with_name(other), path)

    return replace(make)


def listen(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


NEEDS_ROOT = pytest.mark.skipif(not AS_ROOT, reason="needs root, for owners, devices and other users")
TARS, INDEXES, RECEIPTS = "cache/layers/sha256/*.tar", "cache/layers/sha256/*.idx", "cache/layers/receipts/sha256/*"
ROWS: dict[str, tuple[str, Change, set[str]]] = {
    "tar, first bit": (TARS, flip(0), {"content"}),
    "tar, last bit": (TARS, flip(1, 7), {"content"}),
    "tar, in the middle": (TARS, flip(0.4, 3), {"content"}),
    "tar cut short": (TARS, keep_times(lambda path: os.truncate(path, 700)), {"content"}),
    "tar that is a folder": (TARS, replace(lambda path: path.mkdir()), {"content"}),
    "index, its version": (INDEXES, flip(0.06), {"content"}),
    "index, its checksum": (INDEXES, flip(0.1), {"content"}),
    "index, an entry": (INDEXES, flip(0.9, 5), {"content"}),
    "index cut short": (INDEXES, lambda path: os.truncate(path, 100), {"content"}),
    "index removed": (INDEXES, lambda path: path.unlink(), {"index"}),
    "receipt, its digest": (RECEIPTS, flip_in(b'"digest":"sha256:'), {"digest"}),
    "receipt, its diffID": (RECEIPTS, flip_in(b'"diffId":"sha256:'), {"index"}),
    "receipt, the blob's size": (RECEIPTS, flip_in(b'"blobSize":'), {"blobSize"}),
    "receipt, the tar's size": (RECEIPTS, flip_in(b'"tarSize":'), {"tarSize"}),
    "receipt, the fingerprint": (RECEIPTS, flip_in(b'"fingerprint":"'), {"fingerprint"}),
    "receipt, its syntax": (RECEIPTS, flip(0), {"content"}),
    "receipt, its line end": (RECEIPTS, flip(1), {"content"}),
    "rootfs file, first bit": (INDEX, flip(0), {"content"}),
    "rootfs file, last bit": (INDEX, flip(1), {"content"}),
    "rootfs file, in a hole": (f"{ROOTFS}/srv/holes", flip(0.9), {"content"}),
    "rootfs file, beside a hole": (f"{ROOTFS}/srv/holes", flip(0.3), {"content"}),
    "rootfs file, longer": (INDEX, keep_times(lambda path: os.truncate(path, 401)), {"size"}),
    "rootfs file, emptied": (INDEX, keep_times(lambda path: os.truncate(path, 0)), {"size"}),
    "rootfs file, mode": (INDEX, lambda path: path.chmod(0o600), {"mode"}),
    "rootfs file, set-user-id": (f"{ROOTFS}/srv/holes", lambda path: path.chmod(0o755), {"mode"}),
    "rootfs file, mtime by 1 ns": (INDEX, mtime(1), {"mtime"}),
    "rootfs file, owner": (INDEX, chown(1, 0), {"owner"}),
    "rootfs file, group": (INDEX, chown(0, 1), {"owner"}),
    "rootfs file, xattr changed": (INDEX, lambda path: os.setxattr(path, "user.lang", b"eo"), {"xattr user.lang"}),
    "rootfs file, xattr removed": (INDEX, lambda path: os.removexattr(path, "user.lang"), {"xattr user.lang"}),
    "rootfs file, xattr added": (INDEX, lambda path: os.setxattr(path, "user.more", b""), {"xattr user.more"}),
    "rootfs file removed": (f"{ROOTFS}/bin/sh", keep_times(lambda path: path.unlink()), {"file"}),
    "rootfs file, now a symlink": (INDEX, replace(lambda path: path.symlink_to("one")), {"kind"}),
    "rootfs file, now a fifo": (INDEX, replace(lambda path: os.mkfifo(path)), {"kind"}),
    "rootfs file, now a socket": (INDEX, replace(listen), {"kind"}),
    "rootfs file beside": (INDEX, keep_times(lambda path: path.with_name("extra").touch()), {"entry"}),
    "rootfs folder, mode": (f"{ROOTFS}/srv/deep/er", lambda path: path.chmod(0o755), {"mode"}),
    "rootfs folder, mtime": (f"{ROOTFS}/srv/deep", mtime(1 << 30), {"mtime"}),
    "rootfs folder, owner": (f"{ROOTFS}/srv", chown(7, 9), {"owner"}),
    "rootfs folder, xattr": (f"{ROOTFS}/srv", lambda path: os.setxattr(path, "user.a", b"b"), {"xattr user.a"}),
    "rootfs itself, mode": (ROOTFS, lambda path: path.chmod(0o700), {"mode"}),
    "rootfs itself, mtime": (ROOTFS, mtime(1), {"mtime"}),
    "rootfs removed": (ROOTFS, keep_times(lambda path: shutil.rmtree(path)), {"folder"}),
    "symlink's target": (f"{ROOTFS}/srv/link", replace(lambda path: path.symlink_to("one")), {"target"}),
    "symlink's mtime": (f"{ROOTFS}/srv/link", mtime(1), {"mtime"}),
    "symlink's owner": (f"{ROOTFS}/srv/link", chown(5, 5), {"owner"}),
    "fifo's mode": (f"{ROOTFS}/srv/fifo", lambda path: path.chmod(0o644), {"mode"}),
    "hard link broken": (f"{ROOTFS}/srv/two", keep_times(unlinked), {"links"}),
    "hard link added": (f"{ROOTFS}/srv/like-one", linked_to("one"), {"links"}),
    "device's number": (f"{ROOTFS}/dev/null", device(1, 5), {"device"}),
    "device's kind": (
        f"{ROOTFS}/dev/sda",
        replace(lambda path: os.mknod(path, 0o020644, os.makedev(8, 0))),
        {"kind"},
    ),
    "device's mode": (f"{ROOTFS}/dev/null", lambda path: path.chmod(0o644), {"mode"}),
    "device removed": (f"{ROOTFS}/dev/null", keep_times(lambda path: path.unlink()), {"character device"}),
    "image.json": (f"{WEB}/image.json", flip(0.5), {"content"}),
    "spec.json": (f"{WEB}/spec.json", flip(0.5), {"content"}),
    "initconfig.json": (f"{WEB}/initconfig.json", flip(1), {"content"}),
    "bundle.json, a digest": (
        f"{WEB}/bundle.json",
        flip_in(b'"configDigest": "sha256:'),
        {"content", "imageConfigVerbatim"},
    ),
    "bundle.json, an option": (f"{WEB}/bundle.json", flip_in(b'"profile": "v0'), {"content"}),
    "bundle.json, its tree": (f"{WEB}/bundle.json", flip_in(b'"tree": "'), {"content", "recorded tree"}),
    "bundle.json, white space": (f"{WEB}/bundle.json", flip(1), {"content"}),
    "SHA256SUMS": (f"{WEB}/SHA256SUMS", flip(0.5), {"content"}),
    "SHA256SUMS removed": (f"{WEB}/SHA256SUMS", keep_times(lambda path: path.unlink()), {"file"}),
    "spec.json's mode": (f"{WEB}/spec.json", lambda path: path.chmod(0o640), {"mode"}),
    "spec.json's mtime": (f"{WEB}/spec.json", mtime(1 << 20), {"mtime"}),
    "spec.json's owner": (f"{WEB}/spec.json", chown(1, 1), {"owner"}),
    "spec.json removed": (f"{WEB}/spec.json", keep_times(lambda path: path.unlink()), {"file"}),
    "bundle.json removed": (f"{WEB}/bundle.json", keep_times(lambda path: path.unlink()), {"file"}),
    "the folder's mode": (WEB, lambda path: path.chmod(0o700), {"mode"}),
    "a file in the folder": (f"{WEB}/spec.json", keep_times(lambda path: path.with_name("x").touch()), {"entry"}),
    "the folder removed": (WEB, lambda path: shutil.rmtree(path), {"folder"}),
    "the recorded tree": (f"bundles/.parts/web/linux-amd64/{'tree'}", flip(0.5), {"recorded tree"}),
    "the recorded tree removed": (
        f"bundles/.parts/web/linux-amd64/{'tree'}",
        lambda path: path.unlink(),
        {"recorded tree"},
    ),
}
_ROOTS_OWN = ("owner", "group", "device", "tar that is a folder")
_WITHOUT_STATE = ("tar that is a folder", "rootfs file, now a socket", "the folder removed")


@pytest.mark.parametrize(
    "row",
    [pytest.param(name, marks=[NEEDS_ROOT] if any(word in name for word in _ROOTS_OWN) else []) for name in ROWS],
)
def test_each_deviation_is_found_and_mended(shared: Path, row: str) -> None:
    where, change, what = ROWS[row]
    good = state(shared)
    path = sorted(shared.glob(where))[0]
    change(path)
    bad = state(shared) if row not in _WITHOUT_STATE else []

    code, report = verify(shared)
    assert code == 1
    found = {(line["path"], line["what"].partition(" of the layer")[0]) for line in report["deviations"]}
    assert {name for _, name in found} == what
    assert report["unread"] == [] or "tar" in row
    if bad:
        assert state(shared) == bad  # looking changes nothing

    code, report = verify(shared, "--repair")
    assert (code, report["notMended"]) == (0, [])
    assert all(line["mended"] for line in report["deviations"])
    assert content(state(shared)) == content(good)
    assert executed(shared) == set()


def test_nothing_is_wrong(shared: Path) -> None:
    done = run_doit(shared, "verify")
    layers = 4 if AS_ROOT else 3
    assert (done.exit, done.stderr) == (0, "")
    assert done.stdout == f"{layers} layers, {layers + 1} receipts and 2 bundles checked: no deviations\n"


def test_each_deviation_has_a_line(catalog: Path) -> None:
    (catalog / INDEX).chmod(0o755)
    (catalog / WEB / "rootfs/bin/\x1b[31m").touch()
    os.utime(catalog / WEB / "rootfs/bin", (11, 11))
    done = run_doit(catalog, "verify", "-n", "1")
    assert done.exit == 1
    assert done.stdout.splitlines()[:-1] == [
        f"{ROOTFS}/bin/\\x1b[31m: entry: want none, have an extra one",
        f"{INDEX}: mode: want 0644, have 0755",
    ]
    assert done.stdout.endswith("bundles checked: 2 deviations\n")
    done = run_doit(catalog, "verify", "--repair", "web")
    assert done.exit == 0
    assert "mended: web@linux/amd64\n" in done.stdout


def test_with_names_only_these_and_their_layers(catalog: Path) -> None:
    (catalog / INDEX).chmod(0o755)
    for tar in catalog.glob(TARS):
        flip(0.5)(tar)
    code, report = verify(catalog, "db@linux/amd64")
    assert code == 1
    assert (report["layers"], report["receipts"], report["bundles"]) == (2, 2, 1)
    assert {Path(line["path"]).suffix for line in report["deviations"]} == {".tar"}
    assert len(report["unread"]) == 4  # what lies in those tars cannot be compared
    code, report = verify(catalog, "--repair", "db")
    assert code == 0
    code, report = verify(catalog, "db")
    assert (code, report["deviations"], report["unread"]) == (0, [], [])
    code, report = verify(catalog, "--repair")
    assert (code, report["bundles"]) == (0, 2)
    assert {line["of"] for line in report["deviations"]} > {"web@linux/amd64"}
    assert executed(catalog) == set()


@pytest.mark.parametrize("args", [["wep"], ["web@linux/arm64"], ["layer:x"], ["-n", "-1"], ["--bogus"]])
def test_a_wrong_command_line(shared: Path, args: list[str]) -> None:
    done = run_doit(shared, "verify", *args)
    assert (done.exit, done.stdout) == (3, "")
    assert done.stderr.startswith("ERROR: ")


def test_an_edited_record_without_doits_memory(catalog: Path) -> None:
    """The sources tell, as far as they can."""
    for path in catalog.glob(".doit.db*"):
        path.unlink()
    assert verify(catalog)[0] == 0
    record = catalog / WEB / "bundle.json"
    text = record.read_text()
    before = record.stat()
    record.write_text(
        text.replace('"vmtouch": true', '"vmtouch": false').replace('"profile": "v0.8"', '"profile": "v0.3"')
    )
    os.utime(record, ns=(before.st_atime_ns, before.st_mtime_ns))
    code, report = verify(catalog)
    assert code == 1
    found = [
        (line["path"].rpartition("/")[2], *(line[key] for key in ("what", "want", "have")))
        for line in report["deviations"]
    ]
    assert found[:2] == [
        ("bundle.json", "options.profile", '"v0.8"', '"v0.3"'),
        ("bundle.json", "options.boot.vmtouch", "true", "false"),
    ]
    assert [one[:2] for one in found[2:]] == [("SHA256SUMS", "content")]
    assert verify(catalog, "--repair")[0] == 0
    assert record.read_text() == text


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (r'"configDigest": "sha256:\w+"', '"configDigest": "nothing"', ["configDigest", "a digest", "nothing"]),
        ('"spec.json": {', '"../../../bundle.yaml": {', ["outputs", "paths in the bundle", "../../../bundle.yaml"]),
        ('"spec.json": {', '"/etc/passwd": {', ["outputs", "paths in the bundle", "/etc/passwd"]),
    ],
)
def test_a_record_of_what_no_bundle_can_have(catalog: Path, old: str, new: str, what: list[str]) -> None:
    record = catalog / WEB / "bundle.json"
    text = record.read_text()
    edited = re.sub(old, new, text)
    assert edited != text
    record.write_text(edited)
    code, report = verify(catalog, "web")
    found = [[line[key] for key in ("what", "want", "have")] for line in report["deviations"]]
    assert code == 1
    assert what in found
    assert all(line["path"] == f"{WEB}/bundle.json" for line in report["deviations"]), "nothing else is looked at"


def test_a_bundle_that_is_due_to_be_replaced_is_no_deviation(catalog: Path) -> None:
    images = {"web": {"source": "oci:web", "process": {"cwd": "/srv"}}, "db": {"source": "oci:db"}}
    write_catalog(catalog, images)
    assert verify(catalog)[1]["deviations"] == []


def test_an_evicted_tar_is_read_again_and_not_kept(catalog: Path) -> None:
    for tar in catalog.glob(TARS):
        tar.unlink()
    code, report = verify(catalog)
    assert (code, report["deviations"], report["unread"]) == (0, [], [])
    assert not list(catalog.glob(TARS))


def test_a_tar_that_is_evicted_meanwhile_is_no_deviation(catalog: Path) -> None:
    store = Store(str(catalog / "cache/layers"))
    digest, *_ = receipts(store)
    diff_id = Digest.parse(json.loads((catalog / f"cache/layers/receipts/sha256/{digest.hex}").read_text())["diffId"])
    Path(store.tar(diff_id)).unlink()
    assert check_receipt(store, digest, (), {diff_id: "good"}) == ()


def test_what_cannot_be_compared_is_said(catalog: Path) -> None:
    for tar in catalog.glob(TARS):
        tar.unlink()
    shutil.rmtree(catalog / "web")
    done = run_doit(catalog, "verify", "web")
    assert done.exit == 0
    assert re.search("not compared: .* and [0-9]+ more: its layer's tar is not at hand\n", done.stderr)
    assert any(INDEX in line for line in json.loads(run_doit(catalog, "verify", "web", "--json").stdout)["unread"])


def test_what_cannot_be_compared_for_one_reason_is_said_once() -> None:
    """A damaged layer has thousands of files."""
    root = "bundles/web/linux-amd64/rootfs"
    files = [f"{root}/{name}: its layer's tar is not at hand" for name in ("a", "b/c", "d: e", "f", "g")]
    others = [f"{root}/s: Permission denied", "bundles/db/linux-amd64/rootfs/a: its layer's tar is not at hand"]
    assert list(_briefly([*files[:2], *others, *files[3:]])) == [
        f"{root}/a and 3 more: its layer's tar is not at hand",
        *others,
    ]
    assert list(_briefly(files[:3])) == files[:3]
    assert list(_briefly(["web@linux/amd64: x: y", *files[:1]])) == ["web@linux/amd64: x: y", files[0]]


def test_what_cannot_be_mended_is_said_and_kept(catalog: Path) -> None:
    shutil.rmtree(catalog / "web")
    (catalog / INDEX).chmod(0o600)
    code, report = verify(catalog, "--repair")
    assert code == 1
    (line,) = report["notMended"]
    assert line["of"] == "web@linux/amd64"
    assert "web" in line["reason"]
    assert report["deviations"][0]["mended"] is False
    assert (catalog / INDEX).exists()


def test_a_signal_after_a_bundle_was_made_again_ends_it(catalog: Path) -> None:
    (catalog / "bundles/web/linux-amd64/spec.json").write_text("{}")
    done = run_doit(catalog, "verify", "--repair", env=hooked(catalog / "hook", STOPPED_WHEN_MADE))
    assert (done.exit, done.stderr.splitlines()[-1]) == (130, "interrupted")
    assert verify(catalog)[0] == 0


def test_a_layer_whose_blob_is_damaged_too_is_not_mended(catalog: Path) -> None:
    manifest = json.loads((catalog / "bundles/db/linux-amd64/bundle.json").read_text())
    layer = manifest["layers"][1]
    blob = catalog / "db/blobs" / layer["digest"].replace(":", "/")
    flip(0.5)(blob)
    flip(0.5)(catalog / f"cache/layers/{layer['diffID'].replace(':', '/')}.tar")
    code, report = verify(catalog, "--repair")
    assert code == 1
    assert [line["of"] for line in report["notMended"]] == [layer["diffID"]]
    assert "damaged" in report["notMended"][0]["reason"]


def test_an_entry_that_no_image_has_is_removed(catalog: Path) -> None:
    write_catalog(catalog, {"db": {"source": "oci:db"}})
    tars = sorted(catalog.glob(TARS))
    for tar in tars:
        flip(0.5)(tar)
    code, report = verify(catalog, "--repair")
    assert (code, report["notMended"]) == (0, [])
    assert len(list(catalog.glob(TARS))) == 2
    assert len(list(catalog.glob(INDEXES))) == len(list(catalog.glob(RECEIPTS))) == 2


def test_reading_leaves_no_trace(catalog: Path) -> None:
    for tar in catalog.glob(TARS):
        os.utime(tar, (1000, 1000))
    assert verify(catalog)[0] == 0
    assert {tar.stat().st_atime for tar in catalog.glob(TARS)} == {1000}


@NEEDS_ROOT
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (Debian: util-linux)")
def test_a_builder_without_rights(tmp_path: Path) -> None:
    """What it could not do is no deviation, whoever looks; what it did is checked."""

    def without_rights(*args: str) -> tuple[int, str]:
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "doit", *args]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    lay_out(tmp_path)
    assert without_rights()[0] == 0
    for status, text in (without_rights("verify"), run_doit(tmp_path, "verify")[:2]):
        assert status == 0, text
    (tmp_path / INDEX).chmod(0o600)
    os.chown(tmp_path / ROOTFS / "bin/sh", 1, 1)
    (tmp_path / ROOTFS / "bin/sh").chmod(0o755)
    os.mknod(tmp_path / ROOTFS / "dev/null", 0o020666, os.makedev(1, 3))
    status, text = without_rights("verify", "--json")
    assert status == 1
    found = {(line["path"].removeprefix(f"{ROOTFS}/"), line["what"]) for line in json.loads(text)["deviations"]}
    assert found >= {("dev/null", "entry"), ("dev", "mtime"), ("bin/sh", "owner"), ("srv/index", "mode")}
    assert {path for path, _ in found} == {"dev", "dev/null", "bin/sh", "srv/index"}
    assert without_rights("verify", "--repair")[0] == 0
    assert without_rights("verify")[0] == 0
    assert "built" not in without_rights()[1]


@pytest.mark.parametrize("files", range(7, 15))
def test_what_cannot_be_opened_for_want_of_descriptors_is_not_mended(shared: Path, files: int) -> None:
    """It is neither missing nor damaged."""
    before = state(shared)
    limited = ["bash", "-c", f'ulimit -n {files}; exec "$@"', "bash", sys.executable, "-m", "doit"]
    command = [*limited, "verify", "--repair", "-n", "4"]
    done = subprocess.run(command, cwd=shared, env=environment(), capture_output=True, text=True, check=False)
    assert state(shared) == before
    if done.returncode:
        (line,) = done.stderr.splitlines()
        assert re.search("(?:^|: )(?:Too many open files|no more threads)", line) and line.endswith(
            "run with -n 1"
        ), line
    else:
        assert "no deviations" in done.stdout
