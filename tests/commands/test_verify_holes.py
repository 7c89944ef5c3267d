"""`doit verify` reads no file that is longer than it should be, or hardly more than a hole."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.graph.catalogs import BASE, write_catalog
from tests.support.images import Layout
from tests.support.running import run_doit

WEB = "bundles/web/linux-amd64"
PARTS = "bundles/.parts/web/linux-amd64"
_TOO_LONG_S = 120  # that a command hangs, and is ended
PLACES = {
    "a form": (f"{WEB}/rootfs.tar", ""),
    "a form of which nothing is noted": (f"{WEB}/rootfs.ext4", f"{PARTS}/form-ext4.json"),
    "a record": (f"{WEB}/bundle.json", ""),
    "a file of the root": (f"{WEB}/rootfs/etc/passwd", ""),
    "a tar": ("cache/layers/sha256/*.tar", ""),
    "an index": ("cache/layers/sha256/*.idx", ""),
    "a receipt": ("cache/layers/receipts/sha256/*", ""),
    "a blob that nobody knows": (f"cache/blobs/sha256/{'a' * 64}", ""),
}


@pytest.mark.parametrize(("at", "gone"), PLACES.values(), ids=PLACES)
def test_an_endless_file(tmp_path: Path, at: str, gone: str) -> None:
    Layout(tmp_path / "image").image(BASE)
    write_catalog(tmp_path, {"web": {"source": "oci:image", "rootfs": ["dir", "tar", "ext4"]}})
    assert run_doit(tmp_path).exit == 0
    if gone:
        (tmp_path / gone).unlink()
    (tmp_path / "cache/blobs/sha256").mkdir(parents=True)
    path = min(tmp_path.glob(at), default=tmp_path / at)
    if path.exists():
        shutil.copyfile(path, tmp_path / "copy")
        path.unlink()  # and not what is linked to it
        shutil.copyfile(tmp_path / "copy", path)
    path.touch()
    os.truncate(path, 8 << 40)
    for command, status in ((["verify"], 1), (["verify", "--repair"], 0), (["verify"], 0)):
        signal.alarm(_TOO_LONG_S)
        ended = run_doit(tmp_path, *command)
        signal.alarm(0)
        assert ended.exit == status, ended
