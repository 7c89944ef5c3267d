"""Archives in all forms, end to end through `doit`."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

from tests.graph.catalogs import write_catalog
from tests.support.images import DockerSave, Layout, pack
from tests.support.running import executed, run_doit


def test_archives_are_built_as_what_they_hold(tmp_path: Path) -> None:
    """Compressed, sparse or plain, of docker or OCI: the same bundle; and nothing to do in the second run."""
    layout = Layout(tmp_path / "layout")
    layout.image({"a": "\0" * 400_000, "b": "x"}, compression="none", cmd=["x"])
    saved = DockerSave(tmp_path / "saved")
    saved.image({"a": "\0" * 400_000, "b": "x"}, cmd=["x"])
    folder = tmp_path / "catalog"
    folder.mkdir()
    write_catalog(
        folder,
        {
            "oci": "oci-archive:oci.tar",
            "docker": "docker-archive:docker.tar",
            "oci-gz": "oci-archive:oci.tgz",
            "docker-gz": "docker-archive:link",
            "sparse": "oci-archive:sparse.tar",
        },
        platforms=["linux/amd64"],
    )
    for name, made in (("oci", layout), ("docker", saved)):
        path = pack(made.folder, folder / f"{name}.tar")
        (folder / f"{name}.tgz").write_bytes(gzip.compress(path.read_bytes()))
    os.symlink("docker.tgz", folder / "link")
    for blob in (layout.folder / "blobs/sha256").iterdir():
        subprocess.run(["fallocate", "--dig-holes", blob], check=True)
    subprocess.run(["tar", "-C", layout.folder, "-S", "-cf", folder / "sparse.tar", "."], check=True)
    done = run_doit(folder, "-n", "2")
    assert done.exit == 0, done.stderr
    want = (folder / "bundles/oci/linux-amd64/rootfs/a").read_bytes()
    assert want == bytes(400_000)
    for name in ("docker", "oci-gz", "docker-gz", "sparse"):
        assert (folder / f"bundles/{name}/linux-amd64/rootfs/a").read_bytes() == want
    assert executed(folder) == set()
    assert run_doit(folder, "verify").exit == 0
