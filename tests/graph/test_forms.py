"""The forms of a root as parts of the graph: made once, by anyone, and only again where something in them changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import small_catalog, write_catalog
from tests.support import mounts
from tests.support.headers import archive, file, pax
from tests.support.images import Layout
from tests.support.random_layers import ACL_NAMES, ACLS
from tests.support.running import environment, executed, results, run_doit

WEB = "web@linux/amd64"
FORMS: list[Any] = [
    "tar",
    {"form": "tar", "compression": "gzip", "level": 1},
    {"form": "tar", "compression": "zstd"},
    "cpio",
    "iso",
    {"form": "iso", "tree": "vm"},
    {"form": "ext4", "journal": True},
    "squashfs",
    "erofs",
    "context",
    {"form": "imagemounter", "compression": "gzip"},
]
HOLD_JSON = {"iso-vm", "context", "imagemounter"}
HOLD_ALL_JSON = HOLD_JSON - {"imagemounter"}
FILES = {
    *("rootfs.tar", "rootfs.tar.gz", "rootfs.tar.zst", "rootfs.cpio", "rootfs.iso", "vm.iso", "rootfs.ext4"),
    *("rootfs.squashfs", "rootfs.erofs", "context", "imagemounter"),
}
PUBLISHED = Path("bundles/web/linux-amd64")


def catalog(folder: Path, forms: list[Any]) -> dict[str, Any]:
    """The small catalog, with these forms for `web`."""
    folder.mkdir(exist_ok=True)
    images = small_catalog(folder)
    images["web"]["rootfs"] = forms
    write_catalog(folder, images)
    return images


def files_of(folder: Path) -> dict[str, bytes]:
    """All files below, but for those in rootfs/."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith("rootfs/"):
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with every form. The tests leave it as it is."""
    folder = tmp_path_factory.mktemp("forms") / "catalog"
    catalog(folder, FORMS)
    assert run_doit(folder).exit == 0
    return folder


@pytest.fixture
def mine(built: Path, tmp_path: Path) -> Path:
    """The same, to change: a copy that keeps hard links and times."""
    subprocess.run(["cp", "-a", built, tmp_path / "catalog"], check=True)
    folder = tmp_path / "catalog"
    run_doit(folder)  # inodes are others
    return folder


def test_all_are_there_and_nothing_is_left_to_do(built: Path) -> None:
    names = {path.name for path in (built / PUBLISHED).iterdir()}
    assert names == FILES | {"image.json", "spec.json", "initconfig.json", "bundle.json", "SHA256SUMS"}
    assert executed(built) == set()
    assert run_doit(built, "verify").exit == 0
    record = json.loads((built / PUBLISHED / "bundle.json").read_text())
    assert set(record["outputs"]) == set(files_of(built / PUBLISHED)) - {"bundle.json", "SHA256SUMS"}
    assert record["rootfs"] is None


def test_only_forms_with_the_json_files_in_them_follow_these(mine: Path) -> None:
    before = {name: (mine / PUBLISHED / name).stat().st_ino for name in FILES if name.startswith("rootfs.")}
    images = json.loads((mine / "bundle.yaml").read_text())["images"]
    images["web"]["process"] = {"args": ["other"]}
    write_catalog(mine, images)
    ran = executed(mine)
    assert {name for name in ran if name.startswith("rootfs:")} == {f"rootfs:{WEB}:{name}" for name in HOLD_JSON}
    assert {name: (mine / PUBLISHED / name).stat().st_ino for name in before} == before
    assert executed(mine) == set()
    assert run_doit(mine, "verify").exit == 0


def test_a_form_follows_only_the_json_files_that_it_holds(mine: Path) -> None:
    images = json.loads((mine / "bundle.yaml").read_text())["images"]
    images["web"]["boot"] = {"debug_init": True}
    write_catalog(mine, images)
    made = {f"rootfs:{WEB}:{name}" for name in HOLD_ALL_JSON}
    assert executed(mine) == {f"boot:{WEB}", *made, f"bundle:{WEB}", "catalog"}
    assert run_doit(mine, "verify").exit == 0


def written_to(path: Path) -> None:
    """As a VM does that has the published image, which is the same file, as its disk."""
    with path.open("r+b") as stream:
        stream.seek(2000)
        stream.write(b"written")


def another_owner(path: Path) -> None:
    os.chown(path, 1, 1)


TOUCHES: dict[str, Callable[[Path], object]] = {
    "written to": written_to,
    "cut short": lambda path: os.truncate(path, 100),
    "gone": Path.unlink,
    "mode": lambda path: path.chmod(0o600),
    "owner": another_owner,
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_what_was_touched_is_made_again_before_it_is_published_again(
    tmp_path: Path, touch: Callable[[Path], object]
) -> None:
    if touch is another_owner and os.geteuid() != 0:
        pytest.skip("needs root, to give a file away")
    images = catalog(tmp_path, ["ext4", "context"])
    assert run_doit(tmp_path).exit == 0
    assert executed(tmp_path) == set()  # by now the last one's files are older than the clock is coarse
    whole = files_of(tmp_path / PUBLISHED)
    touch(tmp_path / "bundles/.parts/web/linux-amd64/form-ext4/rootfs.ext4")
    images["web"]["process"] = {"terminal": False}
    write_catalog(tmp_path, images)
    forms = {f"rootfs:{WEB}:{form}" for form in ("context", "ext4")}
    assert executed(tmp_path) == {f"spec:{WEB}", *forms, f"bundle:{WEB}", "catalog"}
    now = files_of(tmp_path / PUBLISHED)
    assert now["rootfs.ext4"] == whole["rootfs.ext4"]
    assert run_doit(tmp_path, "verify").exit == 0
    assert executed(tmp_path) == set()


def test_an_option_of_one_form_makes_that_form(mine: Path) -> None:
    images = json.loads((mine / "bundle.yaml").read_text())["images"]
    images["web"]["rootfs"] = [*FORMS[:6], "ext4", *FORMS[7:]]
    write_catalog(mine, images)
    assert executed(mine) == {f"rootfs:{WEB}:ext4", f"bundle:{WEB}", "catalog"}


def test_a_form_that_is_dropped_is_gone(mine: Path) -> None:
    images = json.loads((mine / "bundle.yaml").read_text())["images"]
    images["web"]["rootfs"] = ["cpio"]
    write_catalog(mine, images)
    assert executed(mine) == {f"bundle:{WEB}", "catalog"}
    assert set(files_of(mine / PUBLISHED)) == {
        *("rootfs.cpio", "image.json", "spec.json", "initconfig.json", "bundle.json", "SHA256SUMS")
    }
    parts = {path.name for path in (mine / "bundles/.parts/web/linux-amd64").iterdir()}
    assert {name for name in parts if name.startswith("form-")} == {
        *("form-cpio", "form-cpio.json", "form-cpio.times")
    }


def test_with_the_folder_beside_them_and_without(tmp_path: Path) -> None:
    images = catalog(tmp_path, ["dir", "tar"])
    assert run_doit(tmp_path).exit == 0
    root = tmp_path / PUBLISHED / "rootfs"
    assert (root / "srv/index").read_text() == "web\n"
    images["web"]["rootfs"] = ["tar"]
    write_catalog(tmp_path, images)
    assert executed(tmp_path) == {f"bundle:{WEB}", "catalog"}
    assert not root.exists()
    images["web"]["rootfs"] = ["tar", "dir"]
    write_catalog(tmp_path, images)
    assert executed(tmp_path) == {f"rootfs:{WEB}:dir", f"bundle:{WEB}", "catalog"}
    assert (root / "srv/index").read_text() == "web\n"
    assert executed(tmp_path) == set()


@pytest.mark.parametrize("name", ["rootfs.ext4", "context/build.sh", "context/index.json"])
@pytest.mark.parametrize("damage", ["edited", "gone", "mtime"])
def test_damage_is_found_and_mended(mine: Path, name: str, damage: str) -> None:
    path = mine / PUBLISHED / name
    whole = path.read_bytes()
    match damage:
        case "edited":
            with path.open("r+b") as stream:
                stream.seek(20)
                stream.write(b"?")
        case "gone":
            path.unlink()
        case "mtime":
            os.utime(path, (1, 1))
    found = run_doit(mine, "verify")
    assert found.exit == 1
    assert f"{PUBLISHED}/{name}: " in found.stdout
    assert run_doit(mine, "verify", "--repair").exit == 0
    assert path.read_bytes() == whole
    assert run_doit(mine, "verify").exit == 0
    assert executed(mine) == set()


@pytest.mark.parametrize("name", ["context", "context/blobs/sha256"])
def test_the_folders_of_a_form_are_verified(mine: Path, name: str) -> None:
    folder = mine / PUBLISHED / name
    folder.chmod(0o700)
    os.utime(folder, (1, 1))
    found = run_doit(mine, "verify")
    assert [line.partition(": want")[0] for line in found.stdout.splitlines()[:-1]] == [
        f"{PUBLISHED}/{name}: mode",
        f"{PUBLISHED}/{name}: mtime",
    ]
    assert run_doit(mine, "verify", "--repair").exit == 0
    assert run_doit(mine, "verify").exit == 0


def test_something_put_into_a_form(mine: Path) -> None:
    (mine / PUBLISHED / "context/blobs/more").write_text("")
    found = run_doit(mine, "verify")
    assert found.stdout.startswith(f"{PUBLISHED}/context/blobs/more: entry: want none, have an extra one\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to drop its capabilities")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (Debian: util-linux)")
def test_one_without_rights_makes_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """On this machine. On Debian 12 and 13, as another user too: `python -m tests.soak.debians`, by hand."""
    folder = tmp_path / "catalog"
    catalog(folder, FORMS)
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "doit"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert files_of(folder / PUBLISHED) == files_of(built / PUBLISHED)


def test_a_bundle_for_9p(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    images["web"] |= {"rootfs": ["9p"], "boot": {"external_bundle": True}}
    images["db"]["boot"] = {"external_bundle": True}
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path).exit == 0
    web = tmp_path / PUBLISHED
    assert (web / "9p/rootfs/srv/index").read_text() == "web\n"
    assert (web / "9p/config/config.json").read_bytes() == (web / "spec.json").read_bytes()
    assert (web / "9p/config/imageconfig.json").read_bytes() == (web / "image.json").read_bytes()
    assert {path.name for path in (tmp_path / "bundles/db/linux-amd64").iterdir()} == {
        *("initconfig.json", "bundle.json", "SHA256SUMS")
    }
    assert run_doit(tmp_path, "verify").exit == 0
    inode = (web / "9p/rootfs/srv/index").stat().st_ino
    images["web"]["process"] = {"args": ["other"]}
    write_catalog(tmp_path, images)
    assert executed(tmp_path) == {f"spec:{WEB}", f"bundle:{WEB}", "catalog"}
    assert (web / "9p/rootfs/srv/index").stat().st_ino == inode
    assert b'"other"' in (web / "9p/config/config.json").read_bytes()
    assert executed(tmp_path) == set()


def test_from_a_folder_to_one_for_9p_and_back(tmp_path: Path) -> None:
    images = catalog(tmp_path, ["dir"])
    assert run_doit(tmp_path).exit == 0
    inode = (tmp_path / PUBLISHED / "rootfs/srv/index").stat().st_ino
    for form, root in (("9p", "9p/rootfs"), ("dir", "rootfs")):
        images["web"]["rootfs"] = [form]
        write_catalog(tmp_path, images)
        assert run_doit(tmp_path, "verify").exit == 0  # it is due to be replaced: no deviation
        assert executed(tmp_path) == {f"rootfs:{WEB}:{form}", f"bundle:{WEB}", "catalog"}
        assert (tmp_path / PUBLISHED / root / "srv/index").stat().st_ino == inode
        assert run_doit(tmp_path, "verify").exit == 0
        assert executed(tmp_path) == set()


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


def test_a_form_that_is_dropped_comes_again(tmp_path: Path) -> None:
    images = catalog(tmp_path, ["tar", "ext4"])
    assert run_doit(tmp_path).exit == 0
    whole = files_of(tmp_path / PUBLISHED)
    for forms, ran in ((["tar"], set()), (["tar", "ext4"], {f"rootfs:{WEB}:ext4"}), (["ext4", "tar"], set())):
        images["web"]["rootfs"] = forms
        write_catalog(tmp_path, images)
        assert executed(tmp_path) == {*ran, f"bundle:{WEB}", "catalog"}
        assert ("rootfs.ext4" in files_of(tmp_path / PUBLISHED)) is ("ext4" in forms)
        assert run_doit(tmp_path, "verify").exit == 0
    now = files_of(tmp_path / PUBLISHED)
    assert {name for name in whole if whole[name] != now[name]} == {"bundle.json", "SHA256SUMS"}
    assert set(now) == set(whole)


def test_bundles_that_differ_in_their_forms_only(tmp_path: Path) -> None:
    images = catalog(tmp_path, ["tar", "iso"])
    images["wide"] = images["web"] | {"rootfs": ["iso", "cpio"]}
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path, "-n", "2").exit == 0
    assert executed(tmp_path) == set()
    web, wide = (files_of(tmp_path / "bundles" / name / "linux-amd64") for name in ("web", "wide"))
    shared = {"rootfs.iso", "image.json", "spec.json", "initconfig.json"}
    assert {name for name in web if web[name] == wide.get(name)} == shared
    assert {*web} - shared == {"rootfs.tar", "bundle.json", "SHA256SUMS"}
    assert {*wide} - shared == {"rootfs.cpio", "bundle.json", "SHA256SUMS"}
    del images["wide"]
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path, "prune").stdout == (
        "removed wide@linux/amd64: bundles/wide/linux-amd64, bundles/.parts/wide/linux-amd64\nremoved 1 bundle\n"
    )
    assert files_of(tmp_path / PUBLISHED) == web
    assert executed(tmp_path) == {"catalog"}


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


def test_the_context_is_an_image_for_others(built: Path, tmp_path: Path) -> None:
    layout = built / PUBLISHED / "context"
    for tool in ("skopeo", "umoci"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs Debian's package {tool}")
    done = subprocess.run(["skopeo", "inspect", f"oci:{layout}:latest"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["Architecture"] == "amd64"
    unpack = ["umoci", "raw", "unpack", "--image", f"{layout}:latest", str(tmp_path / "out")]
    if os.geteuid() != 0:
        unpack.insert(3, "--rootless")
    subprocess.run(unpack, capture_output=True, check=True)
    inside = tmp_path / "out/out/oci"
    assert {path.name for path in inside.iterdir()} == {
        *("rootfs", "bundle", "image.json", "spec.json", "initconfig.json")
    }
    assert (inside / "rootfs/srv/index").read_text() == "web\n"
    assert (inside / "spec.json").read_bytes() == (built / PUBLISHED / "spec.json").read_bytes()
    assert list((inside / "bundle").iterdir()) == []
    subprocess.run(["sh", "-n", layout / "build.sh"], check=True)


def test_the_image_mounter_gets_an_image(built: Path, tmp_path: Path) -> None:
    layout = built / PUBLISHED / "imagemounter"
    if shutil.which("umoci") is None:
        pytest.skip("needs Debian's package umoci")
    index = json.loads((layout / "index.json").read_text())
    (manifest,) = index["manifests"]
    content = json.loads((layout / "blobs" / manifest["digest"].replace(":", "/")).read_text())
    assert [layer["mediaType"] for layer in content["layers"]] == ["application/vnd.oci.image.layer.v1.tar+gzip"]
    config = json.loads((layout / "blobs" / content["config"]["digest"].replace(":", "/")).read_text())
    image = json.loads((built / PUBLISHED / "image.json").read_text())
    assert (config["config"], config["architecture"]) == (image["config"], image["architecture"])
    unpack = ["umoci", "raw", "unpack", "--image", f"{layout}:latest", str(tmp_path / "out")]
    if os.geteuid() != 0:
        unpack.insert(3, "--rootless")
    subprocess.run(unpack, capture_output=True, check=True)
    assert (tmp_path / "out/srv/index").read_text() == "web\n"


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


def test_a_tar_without_sparse_files(tmp_path: Path) -> None:
    header = pax(
        [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % (1 << 20))]
    )
    layer = archive(header, file(b"f", b"1\n9\n3\n".ljust(512, b"\0") + b"abc"))
    Layout(tmp_path / "web").image(layer, cmd=["f"])
    kinds = []
    for form in ({"form": "tar"}, {"form": "tar", "sparse": False}, {"form": "tar", "sparse": True}):
        write_catalog(tmp_path, {"web": {"source": "oci:web", "rootfs": [form]}})
        assert f"rootfs:{WEB}:tar" in executed(tmp_path)
        with tarfile.open(tmp_path / PUBLISHED / "rootfs.tar") as opened:
            (member,) = (member for member in opened if member.isfile())
            stream = opened.extractfile(member)
            assert stream is not None
            assert stream.read() == (bytes(9) + b"abc").ljust(1 << 20, b"\0")
        kinds.append(member.issparse())
    assert kinds == [True, False, True]


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
