"""The forms of a root as parts of the graph: made once, by anyone, and only again where something in them changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.running import environment, executed, run_doit

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
    assert names == FILES | {"image.json", "spec.json", "initconfig.json", "bundle.json"}
    assert executed(built) == set()
    assert run_doit(built, "verify").exit == 0
    record = json.loads((built / PUBLISHED / "bundle.json").read_text())
    assert set(record["outputs"]) == set(files_of(built / PUBLISHED)) - {"bundle.json"}
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
        *("rootfs.cpio", "image.json", "spec.json", "initconfig.json", "bundle.json")
    }
    parts = {path.name for path in (mine / "bundles/.parts/web/linux-amd64").iterdir()}
    assert {name for name in parts if name.startswith("form-")} == {"form-cpio", "form-cpio.json"}


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
        *("initconfig.json", "bundle.json")
    }
    assert run_doit(tmp_path, "verify").exit == 0
    inode = (web / "9p/rootfs/srv/index").stat().st_ino
    images["web"]["process"] = {"args": ["other"]}
    write_catalog(tmp_path, images)
    assert executed(tmp_path) == {f"spec:{WEB}", f"bundle:{WEB}", "catalog"}
    assert (web / "9p/rootfs/srv/index").stat().st_ino == inode
    assert b'"other"' in (web / "9p/config/config.json").read_bytes()
    assert executed(tmp_path) == set()


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


def test_doctor(tmp_path: Path) -> None:
    catalog(tmp_path, ["ext4"])
    said = json.loads(run_doit(tmp_path, "doctor", "--json").stdout)
    assert said["works"] is True
    assert {one["form"] for one in said["forms"] if one["used"]} == {"dir", "ext4"}
