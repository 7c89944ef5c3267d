"""`dir:`, as skopeo writes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.images import Layout


def copy(source: str, target: str, *options: str) -> None:
    subprocess.run(["skopeo", "--insecure-policy", "copy", *options, source, target], check=True, capture_output=True)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "layout")
    images = [
        made.image({"etc/os": platform}, platform=platform, described=True, listed=False)
        for platform in ("linux/amd64", "linux/arm64")
    ]
    made.index(*images, tag="x")
    return made


def test_one_image(tmp_path, layout, image, refusal):
    copy(f"oci:{layout.folder}:x", f"dir:{tmp_path}/web", "--override-arch", "amd64", "--override-os", "linux")
    want, have = image(f"oci:{layout.folder}:x"), image(f"dir:{tmp_path}/web")
    assert (have.manifest_digest, have.config) == (want.manifest_digest, want.config)
    assert [(one.digest, one.diff_id, one.place.size) for one in have.layers] == [
        (one.digest, one.diff_id, one.place.size) for one in want.layers
    ]
    assert "the image is for linux/amd64, linux/arm64 was asked for" in refusal(f"dir:{tmp_path}/web", "linux/arm64")


def test_all_platforms(tmp_path, layout, image):
    copy(f"oci:{layout.folder}:x", f"dir:{tmp_path}/web", "--all")
    for platform in ("linux/amd64", "linux/arm64"):
        want, have = image(f"oci:{layout.folder}:x", platform), image(f"dir:{tmp_path}/web", platform)
        assert (have.manifest_digest, have.config_digest) == (want.manifest_digest, want.config_digest)


def test_schema_2(tmp_path, image):
    made = Layout(tmp_path / "layout")
    made.image({"a": "1"}, tag="x")
    copy(f"oci:{made.folder}:x", f"dir:{tmp_path}/web", "--format", "v2s2")
    assert image(f"dir:{tmp_path}/web").layers


def test_broken_ones(tmp_path, layout, refusal):
    copy(f"oci:{layout.folder}:x", f"dir:{tmp_path}/web", "--all")
    folder = tmp_path / "web"
    for blob in folder.iterdir():
        if len(blob.name) == 64:
            blob.unlink()
    assert "config sha256:" in refusal(f"dir:{folder}")
    (folder / "manifest.json").write_bytes(b"{}")
    assert refusal(f"dir:{folder}").endswith("manifest.json: it is neither an index nor a manifest")
    (folder / "manifest.json").unlink()
    assert refusal(f"dir:{folder}") == f"{folder} has no manifest.json, so it is not a folder written by skopeo"
    assert refusal(f"dir:{layout.folder}") == (
        f"{layout.folder} has no manifest.json: it is an image layout; use oci:{layout.folder}"
    )
    assert refusal(f"dir:{tmp_path}/none") == f"{tmp_path}/none does not exist"
