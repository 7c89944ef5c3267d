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
from tests.graph.forming import PUBLISHED, WEB, catalog, files_of
from tests.support.headers import archive, file, pax
from tests.support.images import Layout
from tests.support.running import environment, executed, run_doit

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
    assert names == FILES | {
        "image.json",
        "spec.json",
        "initconfig.json",
        "packages.json",
        "bundle.json",
        "SHA256SUMS",
    }
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
        *("rootfs.cpio", "image.json", "spec.json", "initconfig.json", "packages.json", "bundle.json", "SHA256SUMS")
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
    shared = {"rootfs.iso", "image.json", "spec.json", "initconfig.json", "packages.json"}
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


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_digests_of_image_layouts_are_true_though_they_are_not_hashed_twice(
    tmp_path: Path, compression: str | None
) -> None:
    mounter: Any = {"form": "imagemounter", **({"compression": compression} if compression else {})}
    catalog(tmp_path, ["context", mounter])
    assert run_doit(tmp_path).exit == 0
    words = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    told = subprocess.run(words, cwd=tmp_path / PUBLISHED, capture_output=True, text=True, check=True).stdout
    assert len([line for line in told.splitlines() if "/blobs/sha256/" in line and line.endswith(": OK")]) == 6
    assert run_doit(tmp_path, "verify").exit == 0


def test_the_image_mounter_gets_a_config_that_only_go_can_read(tmp_path: Path) -> None:
    odd = {"author": "a\udcff", "limit": 10**400, "History": [{}, {}, {}], "RootFS": None}
    Layout(tmp_path / "web").image({"f": "x"}, cmd=["f"], config=odd)
    write_catalog(tmp_path, {"web": {"source": "oci:web", "rootfs": ["imagemounter"]}})
    done = run_doit(tmp_path)
    assert done.exit == 0, done.stderr
    blobs = (tmp_path / PUBLISHED / "imagemounter/blobs/sha256").iterdir()
    (config,) = (
        json.loads(text) for text in (blob.read_bytes() for blob in blobs) if text[:2] == b'{"' and b"author" in text
    )
    assert (config["author"], config["limit"], len(config["rootfs"]["diff_ids"])) == ("a\ufffd", 10**400, 1)
    assert not {"History", "RootFS"} & set(config)


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
