"""Links in the folders of images: inside they lead anywhere, out of them only where they are the user's own; and of
what lies outside nothing is told."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.errors import LayerError, SourceError
from c2wtasks.layers.store import Store
from tests.rootfs.making import needs_root
from tests.support import ways
from tests.support.images import DockerSave, Layout
from tests.support.running import run_doit

TREE = {"etc/motd": "hi\n"}
SECRET = b'{"password": "hunter2"}'
STRANGER = 1000

Resolve = Callable[..., Any]


@pytest.fixture(params=ways.WAYS, autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    ways.take(request.param, monkeypatch)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "canary").mkdir(mode=0o700)
    path = tmp_path / "canary/secret"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


def layout_at(folder: Path) -> tuple[Layout, dict[str, Path]]:
    """A layout, and its files by what they are."""
    layout = Layout(folder)
    manifest = layout.image(TREE)
    said = layout.blob(manifest["digest"]).read_bytes()
    config, layer = (part.decode().split(":")[1][:64] for part in (said.split(b'"digest":')[i] for i in (1, 2)))
    return layout, {
        "index": folder / "index.json",
        "oci-layout": folder / "oci-layout",
        "manifest": layout.blob(manifest["digest"]),
        "config": folder / "blobs/sha256" / config.strip('"'),
        "layer": folder / "blobs/sha256" / layer.strip('"'),
    }


def moved(path: Path, to: Path, target: str | None = None) -> None:
    """The file is a link now, to where it is instead."""
    to.parent.mkdir(parents=True, exist_ok=True)
    os.rename(path, to)
    path.symlink_to(target or os.path.relpath(to, path.parent))


FILES = ["index", "oci-layout", "manifest", "config", "layer"]


def read_all(found: Any, tmp_path: Path) -> None:
    Store(f"{tmp_path}/store").ensure(found.layers)


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
@pytest.mark.parametrize("file", FILES)
def test_a_link_that_stays_inside(tmp_path: Path, image: Resolve, file: str, absolute: bool) -> None:
    """Whoever has put it there."""
    layout, found = layout_at(tmp_path / "web")
    inside = layout.folder / "other/deep/content"
    moved(found[file], inside, str(inside) if absolute else None)
    if os.geteuid() == 0:
        for folder in (layout.folder, found[file].parent):
            os.chown(folder, STRANGER, STRANGER)
        os.lchown(found[file], STRANGER, STRANGER)
    read_all(image(f"oci:{layout.folder}"), tmp_path)


@pytest.mark.parametrize("file", FILES)
def test_a_link_of_our_own_that_leads_out(tmp_path: Path, image: Resolve, file: str) -> None:
    layout, found = layout_at(tmp_path / "web")
    moved(found[file], tmp_path / "store-of-links/content")
    read_all(image(f"oci:{layout.folder}/"), tmp_path)


def test_folders_that_are_links(tmp_path: Path, image: Resolve) -> None:
    """As in the outputs of bazel and nix: a tree of links, or folders that are links to others."""
    layout, found = layout_at(tmp_path / "web")
    tree = tmp_path / "tree"
    for path in found.values():
        link = tree / path.relative_to(layout.folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    read_all(image(f"oci:{tree}"), tmp_path)
    (tmp_path / "result").symlink_to("tree")
    read_all(image(f"oci:{tmp_path}/result"), tmp_path)
    os.rename(layout.folder / "blobs", tmp_path / "blobs")
    (layout.folder / "blobs").symlink_to("../blobs")
    read_all(image(f"oci:{layout.folder}"), tmp_path)


@needs_root
@pytest.mark.parametrize("whose", ["link", "folder", "all may write"])
@pytest.mark.parametrize("file", FILES)
def test_a_link_of_another_that_leads_out(
    tmp_path: Path, secret: Path, image: Resolve, file: str, whose: str
) -> None:
    layout, found = layout_at(tmp_path / "web")
    found[file].unlink()
    found[file].symlink_to(secret)
    match whose:
        case "link":
            os.lchown(found[file], STRANGER, STRANGER)
        case "folder":
            os.chown(found[file].parent, STRANGER, STRANGER)
        case "all may write":
            found[file].parent.chmod(0o777)
    with pytest.raises(SourceError) as caught:
        read_all(image(f"oci:{layout.folder}"), tmp_path)
    assert "a link leads out of the folder, and another user may have put it there" in str(caught.value)
    assert f"cp -RL {layout.folder} COPY" in str(caught.value)
    untold(str(caught.value))


@needs_root
@pytest.mark.parametrize("middle", ["in/../../out", "../out", "round"])
def test_ways_out(tmp_path: Path, image: Resolve, middle: str) -> None:
    layout, found = layout_at(tmp_path / "web")
    (layout.folder / "in").mkdir()
    moved(found["layer"], tmp_path / "out/content", f"../../{middle}/content")
    (layout.folder / "round").symlink_to("../out")
    os.lchown(found["layer"], STRANGER, STRANGER)  # the first of two links, or the only one
    with pytest.raises(SourceError, match="another user may have put it there"):
        image(f"oci:{layout.folder}")


def test_the_hint(tmp_path: Path, image: Resolve) -> None:
    layout, found = layout_at(tmp_path / "web")
    moved(found["layer"], tmp_path / "elsewhere/content")
    found["layer"].parent.chmod(0o777)
    with pytest.raises(SourceError):
        image(f"oci:{layout.folder}")
    shutil.copytree(layout.folder, tmp_path / "COPY", symlinks=False)  # cp -RL
    read_all(image(f"oci:{tmp_path}/COPY"), tmp_path)


def untold(text: str) -> None:
    assert "hunter2" not in text and "password" not in text
    for algorithm in ("sha256", "sha512", "md5"):
        assert hashlib.new(algorithm, SECRET).hexdigest()[:12] not in text


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("padded", [False, True])
def test_nothing_is_told_of_what_lies_outside(
    tmp_path: Path, secret: Path, image: Resolve, file: str, padded: bool
) -> None:
    """Even where the link is our own. (`padded`: as long as it should be, so that it is read.)"""
    layout, found = layout_at(tmp_path / "web")
    if padded:
        secret.write_bytes(SECRET.ljust(found[file].stat().st_size, b" "))
    found[file].unlink()
    found[file].symlink_to(secret)
    try:
        read_all(image(f"oci:{layout.folder}"), tmp_path)
    except (SourceError, LayerError) as error:
        untold(str(error))
        assert hashlib.sha256(secret.read_bytes()).hexdigest()[:12] not in str(error)
    else:
        assert file == "oci-layout"  # in which nothing has to be


def test_what_is_swapped_after_it_was_looked_at(tmp_path: Path, secret: Path, image: Resolve) -> None:
    layout, found = layout_at(tmp_path / "web")
    resolved = image(f"oci:{layout.folder}")
    found["layer"].unlink()
    found["layer"].symlink_to(secret)
    with pytest.raises(LayerError) as caught:
        read_all(resolved, tmp_path)
    assert "a link leads out" in str(caught.value)
    untold(str(caught.value))


def test_skopeo_folder(tmp_path: Path, secret: Path, image: Resolve) -> None:
    found = layout_at(tmp_path / "web")[1]
    folder = tmp_path / "skopeo"
    folder.mkdir()
    shutil.copy(found["manifest"], folder / "manifest.json")
    for file in ("config", "layer"):
        (folder / found[file].name).symlink_to(found[file])
    read_all(image(f"dir:{folder}"), tmp_path)
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").symlink_to(secret)
    with pytest.raises(SourceError) as caught:
        image(f"dir:{folder}")
    untold(str(caught.value))


def test_docker_folder(tmp_path: Path, image: Resolve) -> None:
    """What another file has in its place meanwhile is opened below the folder, too."""
    saved = DockerSave(tmp_path / "saved")
    saved.image(TREE, tags=["web:latest"])
    resolved = image(f"docker-archive:{saved.folder}")
    layer = Path(resolved.layers[0].place.path)
    os.rename(layer, tmp_path / "elsewhere")
    layer.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LayerError, match="a link leads out"):
        read_all(resolved, tmp_path)


def test_remembered(tmp_path: Path) -> None:
    """A null run opens nothing; a link that leads elsewhere by now is another image."""
    layout, found = layout_at(tmp_path / "web")
    moved(found["index"], tmp_path / "elsewhere/index.json")
    (tmp_path / "bundle.yaml").write_text("platforms: [linux/amd64]\nimages: {web: oci:web}\n")
    shutil.copy(Path(__file__).parents[2] / "dodo.py", tmp_path)
    assert run_doit(tmp_path).exit == 0
    other = Layout(tmp_path / "other")
    other.image({"etc/motd": "another\n"})
    shutil.copytree(other.folder / "blobs", layout.folder / "blobs", dirs_exist_ok=True)
    found["index"].unlink()
    found["index"].symlink_to("../other/index.json")
    assert run_doit(tmp_path).exit == 0
    assert (tmp_path / "bundles/web/linux-amd64/rootfs/etc/motd").read_text() == "another\n"
