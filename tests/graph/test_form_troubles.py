"""Forms that cannot be made, or cannot hold or start all that is there: what is told of them, and what stands."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import write_catalog
from tests.graph.forming import PUBLISHED, WEB, catalog, files_of
from tests.support import mounts
from tests.support.headers import archive, file, pax
from tests.support.images import Layout
from tests.support.random_layers import ACL_NAMES, ACLS
from tests.support.running import executed, results, run_doit

TOO_SMALL = {"form": "ext4", "size": 1024}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_form_cannot_be_made(tmp_path: Path, workers: str) -> None:
    """The bundle stands as it was; what was made of the other forms is kept, and nothing of it published."""
    images = catalog(tmp_path, ["dir", "ext4", "tar"])
    assert run_doit(tmp_path).exit == 0
    before = files_of(tmp_path / PUBLISHED), (tmp_path / PUBLISHED).stat().st_ino
    shutil.rmtree(tmp_path / "web")
    Layout(tmp_path / "web").image({"srv/": None, "srv/index": "changed\n"})
    images["web"]["rootfs"] = ["dir", TOO_SMALL, "tar", "iso"]
    write_catalog(tmp_path, images)
    done = run_doit(tmp_path, "-n", workers)
    assert done.exit == 1
    assert "web@linux/amd64: " in done.stderr
    assert "1024 bytes are too few for this root" in done.stderr
    assert (files_of(tmp_path / PUBLISHED), (tmp_path / PUBLISHED).stat().st_ino) == before
    (line,) = [
        one for one in json.loads((tmp_path / "bundles/catalog.json").read_text())["bundles"] if "error" in one
    ]
    assert (line["name"], line["status"]) == ("web", "failed")
    verified = run_doit(tmp_path, "verify")
    assert (verified.exit, verified.stderr) == (0, ""), verified
    parts = {path.name for path in (tmp_path / "bundles/.parts/web/linux-amd64").iterdir()}
    assert not [name for name in parts if name.startswith(".")]
    images["web"]["rootfs"] = ["dir", "ext4", "tar", "iso"]
    write_catalog(tmp_path, images)
    assert executed(tmp_path) == {f"rootfs:{WEB}:ext4", f"bundle:{WEB}", "catalog"}
    assert (tmp_path / PUBLISHED / "rootfs/srv/index").read_text() == "changed\n"
    assert run_doit(tmp_path, "verify").exit == 0


def test_a_form_whose_tool_is_not_here(tmp_path: Path) -> None:
    """The bundle stands, the others are built; with the tool nothing else is made again."""
    if shutil.which("tar2sqfs") is None:
        pytest.skip("needs Debian's package squashfs-tools-ng")
    images = catalog(tmp_path, ["tar"])
    assert run_doit(tmp_path).exit == 0
    before = files_of(tmp_path / PUBLISHED)
    images["web"]["rootfs"] = ["tar", "squashfs"]
    images["db"]["process"] = {"args": ["other"]}
    write_catalog(tmp_path, images)
    without = {"PATH": str(tmp_path / "nothing")}
    lacking = "form squashfs needs tar2sqfs (Debian's package squashfs-tools-ng); install it, or leave the form out"
    assert f"{WEB}: {lacking}\n" in run_doit(tmp_path, "why", env=without).stdout
    done = run_doit(tmp_path, env=without)
    assert done.exit == 1
    assert done.stderr.splitlines()[-1] == f"{WEB}: {lacking}"
    assert b'"other"' in (tmp_path / "bundles/db/linux-amd64/spec.json").read_bytes()
    assert files_of(tmp_path / PUBLISHED) == before
    assert run_doit(tmp_path, "verify", env=without).exit == 0
    assert run_doit(tmp_path, "prune", env=without).stdout == "removed no bundles\n"
    assert run_doit(tmp_path, "gc", env=without).stdout.startswith("freed nothing")
    assert run_doit(tmp_path, "doctor", env=without).exit == 1
    assert executed(tmp_path) == {f"rootfs:{WEB}:squashfs", f"bundle:{WEB}", "catalog"}
    assert run_doit(tmp_path, "verify").exit == 0


def test_a_form_whose_tool_is_not_here_fails_before_any_work(tmp_path: Path) -> None:
    """Its image is known all the same, so the lock takes it."""
    write_catalog(tmp_path, catalog(tmp_path, ["squashfs", "tar"]), lock="all")
    without = {"PATH": str(tmp_path / "nothing")}
    done = run_doit(tmp_path, "lock", env=without)
    assert (done.exit, done.stderr) == (0, "")
    assert f"{WEB}: added\n" in done.stdout
    assert f"image {WEB}\n" in (tmp_path / "bundle.lock").read_text()
    assert run_doit(tmp_path, "lock", "--check", env=without).exit == 0
    assert f"  rootfs:{WEB}:squashfs\n" in run_doit(tmp_path, "plan", env=without).stdout
    found = results(tmp_path, "--locked", env=without)
    tried = {task: how for task, how in found.items() if WEB in task}
    assert tried == {f"rootfs:{WEB}:squashfs": "fail", f"bundle:{WEB}": "fail"}
    assert found["bundle:db@linux/amd64"] == "success"


@pytest.mark.parametrize("args", [[f"rootfs:{WEB}:ext4"], ["--no-continue"]])
def test_a_form_that_fails_by_its_own_name_says_why(tmp_path: Path, args: list[str]) -> None:
    images = catalog(tmp_path, [TOO_SMALL])
    write_catalog(tmp_path, {"web": images["web"]})
    done = run_doit(tmp_path, *args)
    assert done.exit == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rootfs:{WEB}:ext4: ")
    assert "1024 bytes are too few for this root" in line


def test_doctor_of_a_tool_that_cannot_be_run(tmp_path: Path) -> None:
    catalog(tmp_path, ["squashfs"])
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin/tar2sqfs"
    tool.write_bytes(b"\x7fELF of another machine")
    tool.chmod(0o755)
    done = run_doit(tmp_path, "doctor", env={"PATH": str(tmp_path / "bin")})
    assert (done.exit, done.stderr) == (1, "")
    assert f"{tool} cannot be run: Exec format error\n" in done.stdout


def test_doctor(tmp_path: Path) -> None:
    catalog(tmp_path, ["ext4"])
    said = json.loads(run_doit(tmp_path, "doctor", "--json").stdout)
    assert said["works"] is True
    assert {one["form"] for one in said["forms"] if one["used"]} == {"dir", "ext4"}


@mounts.NEEDS_ROOT
def test_doctor_of_what_may_harm(tmp_path: Path) -> None:
    catalog(tmp_path, ["dir"])
    with mounts.memory(tmp_path / "bundles") as output:
        for options, lacking in (("suid,dev", "nosuid and nodev"), ("nosuid,dev", "nodev"), ("nosuid,nodev", "")):
            subprocess.run(["mount", "-o", f"remount,{options}", output], check=True)
            said = run_doit(tmp_path, "doctor").stdout
            assert (f"on a file system without {lacking}: " in said) == bool(lacking)
            assert ("set-user-id programs" in said) == bool(lacking)


def test_what_a_form_cannot_hold_is_told_when_it_is_made_and_recorded(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "web")
    acl = {ACL_NAMES[0]: ACLS[1]}
    layout.image(archive(file(b"f", xattrs=acl), file(b"g", xattrs=acl | {b"user.a": b"1"}, mtime_ns=1)), cmd=["f"])
    images = {"web": {"source": "oci:web", "rootfs": ["squashfs", "erofs", "cpio", {"form": "iso", "tree": "vm"}]}}
    write_catalog(tmp_path, images)
    lines = [
        "cpio lacks 2 ACLs, 1 xattr, 1 fraction of a second, which it cannot hold",
        "iso-vm lacks 2 ACLs, 1 xattr, 1 fraction of a second, which it cannot hold",
        "squashfs lacks 2 ACLs, 1 fraction of a second, which it cannot hold",
    ]
    assert run_doit(tmp_path).stderr.splitlines() == [f"note: {WEB}: {line}" for line in lines]
    assert sorted(json.loads((tmp_path / PUBLISHED / "bundle.json").read_text())["notes"]) == lines
    assert run_doit(tmp_path).stderr == ""
    assert run_doit(tmp_path, "verify").exit == 0


@pytest.mark.parametrize(
    ("config", "process", "said"),
    [
        ({"cmd": None}, {}, ["the image names no command (Entrypoint, Cmd)"]),
        ({"config": {"config": None}}, {}, ["the image names no command (Entrypoint, Cmd)"]),
        ({"cmd": [], "entrypoint": []}, {}, ["the image names no command (Entrypoint, Cmd)"]),
        ({"entrypoint": [""], "cmd": ["x"]}, {}, ["the image names no command (Entrypoint, Cmd)"]),
        ({"cmd": []}, {"args": ["sh"]}, []),
        ({"cmd": ["sh"]}, {}, []),
        ({"entrypoint": ["sh"]}, {}, []),
        ({"cmd": ["sh"], "working_dir": "srv"}, {}, ["runc starts nothing in a relative folder"]),
        ({"cmd": ["sh"], "working_dir": "srv"}, {"cwd": "/srv"}, []),
        (
            {"working_dir": "./", "cmd": []},
            {},
            ["runc starts nothing in a relative folder", "the image names no command"],
        ),
    ],
)
def test_what_cannot_start_is_told_once(
    tmp_path: Path, config: dict[str, Any], process: dict[str, Any], said: list[str]
) -> None:
    Layout(tmp_path / "web").image({"f": "x"}, **config)
    write_catalog(tmp_path, {"web": {"source": "oci:web", **({"process": process} if process else {})}})
    result = run_doit(tmp_path)
    assert result.exit == 0
    lines = result.stderr.splitlines()
    assert len(lines) == len(said)
    for line, start in zip(lines, said, strict=True):
        assert line.startswith(f"note: {WEB}: {start}")
    assert len(json.loads((tmp_path / PUBLISHED / "bundle.json").read_text())["notes"]) == len(said)
    assert run_doit(tmp_path).stderr == ""


def test_many_notes_are_one(tmp_path: Path) -> None:
    Layout(tmp_path / "web").image({"f": "x"}, cmd=[])
    write_catalog(tmp_path, {f"i{number}": {"source": "oci:web"} for number in range(21)})
    (line,) = run_doit(tmp_path).stderr.splitlines()
    assert line.startswith("note: 21 bundles have notes in their bundle.json: i0@linux/amd64, ")


def test_holes_are_not_written_out_beyond_a_limit(tmp_path: Path) -> None:
    """A kilobyte of an image states any number of them."""
    size = 1 << 40
    header = pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % size)])
    Layout(tmp_path / "web").image(archive(header, file(b"f", b"1\n9\n3\n".ljust(512, b"\0") + b"abc")), cmd=["f"])
    sparse = ["dir", "tar", "ext4", "erofs", "context"]
    for form in sparse:
        write_catalog(tmp_path, {"web": {"source": "oci:web", "rootfs": [form]}})
        result = run_doit(tmp_path)
        if form == "dir" and "File too large" in result.stderr:  # the file system's limit
            continue
        assert result.exit == 0, result.stderr
    for form in ({"form": "tar", "sparse": False}, "cpio", "iso"):
        write_catalog(tmp_path, {"web": {"source": "oci:web", "rootfs": [form]}})
        result = run_doit(tmp_path)
        name = form if isinstance(form, str) else "tar"
        assert (result.exit, result.stderr.splitlines()[-1]) == (
            1,
            f"{WEB}: form {name}: sparse files have holes of {size - 3} bytes, which it writes out "
            "(17179869184 at most); write the root as dir, tar, ext4 or erofs",
        )
