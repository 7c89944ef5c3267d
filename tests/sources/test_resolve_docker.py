"""`docker-archive:`, what it chooses and what it gives."""

from __future__ import annotations

import os
import shutil

import pytest

from c2wtasks.oci.imagename import full_name
from tests.support.images import DockerSave, Layer, Layout, pack

TREE = {"etc/": None, "etc/motd": "hi\n"}


def cmd(image) -> str:
    return image.parsed.cmd[0]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("style", ["old", "new"])
def test_image(tmp_path, style, packed, image):
    saved = DockerSave(tmp_path / "saved", style=style)
    layer = Layer.of(TREE, "none")
    entry = saved.image(layer, {"x": "y"}, cmd=["sh"])
    path = pack(saved.folder, tmp_path / "saved.tar") if packed else saved.folder
    found = image(f"docker-archive:{path}")
    assert found.manifest_digest is None
    assert found.config_digest.hex in entry["Config"]
    assert found.config == (saved.folder / entry["Config"]).read_bytes()
    assert str(found.layers[0].diff_id) == layer.diff_id
    assert [one.digest is None for one in found.layers] == [style == "old"] * 2
    if style == "new":
        assert found.layers[0].digest == found.layers[0].diff_id
    place = found.layers[0].place
    with open(place.path, "rb") as file:
        file.seek(place.offset)
        assert file.read(place.size) == layer.blob
    names = [str(saved.folder / "manifest.json"), str(saved.folder / entry["Config"])]
    assert list(found.files) == ([str(path)] if packed else names)


def test_tags(saved, image, refusal):
    saved.image(TREE, tags=["web:1", "web:latest"], cmd=["web"])
    saved.image(TREE, tags=["docker.io/library/db:2"], cmd=["db"])
    saved.image(TREE, tags=None, cmd=["nameless"])
    source = f"docker-archive:{saved.folder}"
    for tag in ("web", "web:1", "docker.io/library/web", "library/web:latest"):
        assert cmd(image(f"{source}:{tag}")) == "web"
    assert cmd(image(f"{source}:db:2")) == "db"
    assert refusal(f"{source}:db") == (
        f"{saved.folder} has no image 'db:latest'; there are: docker.io/library/db:2, web:1, web:latest"
    )
    line = refusal(source)
    assert f"{saved.folder} holds several images that fit: web:1, web:latest (linux/amd64, sha256:" in line
    assert "docker.io/library/db:2 (linux/amd64, sha256:" in line
    assert "one without a name (linux/amd64, sha256:" in line
    assert line.endswith(f"; name one of them, such as {source}:web:1")


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("web", "web:latest"),
        ("web:1", "web:1"),
        ("docker.io/library/web", "web:latest"),
        ("index.docker.io/me/web:1", "me/web:1"),
        ("host:5000/web", "host:5000/web:latest"),
        ("host:5000/library/web:1", "host:5000/library/web:1"),
    ],
)
def test_full_name(tag, name):
    assert full_name(tag) == name
    assert full_name(name) == name


def test_platforms_of_one_tag(saved, image, refusal):
    saved.image(TREE, platform="linux/arm64", cmd=["arm"])
    saved.image(TREE, cmd=["pc"])
    assert cmd(image(f"docker-archive:{saved.folder}")) == "pc"
    assert cmd(image(f"docker-archive:{saved.folder}:web", "linux/arm64")) == "arm"
    assert "no image for linux/s390x; there are: linux/arm64, linux/amd64" in refusal(
        f"docker-archive:{saved.folder}", "linux/s390x"
    )


def test_other_platform_and_none(saved, refusal):
    saved.image(TREE, platform="linux/arm64")
    source = f"docker-archive:{saved.folder}"
    assert "the image is for linux/arm64, linux/amd64 was asked for" in refusal(source)
    saved.entries.clear()
    saved.image(TREE, platform="linux")
    saved.image(TREE, platform="linux", cmd=["another"])
    assert "no image for linux/amd64; there are: one that names no architecture" in refusal(source)


@pytest.mark.parametrize("packed", [False, True])
def test_layers_that_are_links(saved, tmp_path, packed, image):
    entry = saved.image(TREE, TREE)
    (saved.folder / "other").mkdir()
    os.symlink("../" + entry["Layers"][0], saved.folder / "other/layer.tar")
    entry["Layers"][1] = "other/layer.tar"
    saved.write_manifest()
    path = pack(saved.folder, tmp_path / "saved.tar") if packed else saved.folder
    first, second = image(f"docker-archive:{path}").layers
    assert first.place == second.place
    assert first.key == second.key


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "x/../../outside", "link", "folderlink/hostname"])
def test_names_that_lead_outside(saved, tmp_path, name, packed, refusal):
    (tmp_path / "outside").write_bytes(b"secret")
    os.symlink("../outside", saved.folder / "link")
    os.symlink("/etc", saved.folder / "folderlink")
    (saved.folder / "x").mkdir()
    entry = saved.image(TREE)
    entry["Layers"][0] = name
    saved.write_manifest()
    path = pack(saved.folder, tmp_path / "saved.tar") if packed else saved.folder
    assert "outside of " in refusal(f"docker-archive:{path}")
    entry["Config"] = name
    saved.write_manifest()
    path = pack(saved.folder, tmp_path / "saved.tar") if packed else saved.folder
    assert "outside of " in refusal(f"docker-archive:{path}")


def test_what_docker_saves_now_is_both(tmp_path, image):
    saved = DockerSave(tmp_path / "both", style="new")
    saved.image(TREE, cmd=["docker"])
    layout = Layout(tmp_path / "layout")
    layout.image(TREE, cmd=["oci"])
    shutil.copytree(layout.folder, saved.folder, dirs_exist_ok=True)
    path = pack(saved.folder, tmp_path / "both.tar")
    assert cmd(image(f"docker-archive:{saved.folder}")) == "docker"
    assert cmd(image(f"docker-archive:{path}")) == "docker"
    assert cmd(image(f"oci:{saved.folder}")) == "oci"
    assert cmd(image(f"oci-archive:{path}")) == "oci"
