"""`--strict` and `strict: true`: what a run would only note of a bundle fails it, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import BASE, write_catalog
from tests.support.images import File, Layout
from tests.support.running import run_doit

NOTED = "xattr"


def write(folder: Path, **more: Any) -> None:
    images: dict[str, Any] = {"plain": {"source": "oci:plain", "rootfs": ["tar"]}}
    images["noted"] = {"source": "oci:noted", "rootfs": ["cpio"]}
    write_catalog(folder, images, **more)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    Layout(tmp_path / "plain").image(BASE, cmd=["sh"])
    Layout(tmp_path / "noted").image(BASE, {"x": File(content="x", xattrs={"user.lang": "en"})}, cmd=["sh"])
    write(tmp_path)
    return tmp_path


@pytest.mark.parametrize("by", ["the option", "the option after a name", "bundle.yaml"])
def test_it_is_not_published(catalog: Path, by: str) -> None:
    write(catalog, **({"strict": True} if by == "bundle.yaml" else {}))
    words = {"the option": ["--strict"], "bundle.yaml": []}.get(by, ["noted", "plain", "--strict"])
    for _ in range(2):
        done = run_doit(catalog, *words)
        assert done.exit == 1
        assert "noted@linux/amd64: not published, as this run is strict: " in done.stderr
        assert NOTED in done.stderr
        assert not (catalog / "bundles/noted/linux-amd64").exists()
        assert (catalog / "bundles/plain/linux-amd64/rootfs.tar").exists()
    assert "Traceback" not in done.stdout + done.stderr


def test_what_stands_fails_the_run(catalog: Path) -> None:
    assert run_doit(catalog).exit == 0
    assert run_doit(catalog).exit == 0
    done = run_doit(catalog, "--strict")
    assert done.exit == 1
    assert "this run is strict, and bundle.json notes something of noted@linux/amd64; " in done.stderr
    assert run_doit(catalog, "plain", "--strict").exit == 0
    assert (catalog / "bundles/noted/linux-amd64/bundle.json").exists()
