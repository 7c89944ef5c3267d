"""A catalog that has been built, with something of every kind in its roots; and clusters that build one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.graph.catalogs import BASE, small_catalog, write_catalog
from tests.support.cluster import Cluster, eventually
from tests.support.images import Device, Dir, Fifo, File, Hardlink, Layout, Symlink, Tree
from tests.support.registries import free_address
from tests.support.running import run_doit

AS_ROOT = os.geteuid() == 0
SPARSE = {"GNU.sparse.map": "4096,5000", "GNU.sparse.size": "20000", "GNU.sparse.numblocks": "1"}
DEVICES: Tree = {"dev/": None, "dev/null": Device(1, 3, mode=0o666), "dev/sda": Device(8, 0, block=True)}
EVERYTHING: Tree = {
    "srv/": Dir(mode=0o750, uid=7, gid=8, mtime=21.5),
    "srv/index": File(content="web\n" * 100, mtime=22.25, xattrs={"user.lang": "en"}),
    "srv/holes": File(mode=0o4755, mtime=23, content=b"x" * 5000, uid=1000, pax=SPARSE),
    "srv/one": File(content="linked", mtime=24),
    "srv/two": Hardlink("srv/one", mtime=24),
    "srv/like-one": File(content="linked", mtime=24),
    "srv/link": Symlink("index", mtime=25),
    "srv/fifo": Fifo(mode=0o600, mtime=26),
    "srv/deep/": Dir(mode=0o700, mtime=27),
    "srv/deep/er/": Dir(mode=0o555, mtime=28),
    "srv/deep/er/file": File(content=b"\xff\x00", mode=0o400, mtime=29),
}


def lay_out(folder: Path) -> None:
    """Images `web` and `db`, which share a layer that each compresses in its own way."""
    layers: list[Tree] = [BASE, EVERYTHING, *([DEVICES] if AS_ROOT else [])]
    Layout(folder / "web").image(*layers, cmd=["httpd"], user="app")
    Layout(folder / "db").image(BASE, {"var/": None, "var/data": "db\n"}, compression="zstd", cmd=["db"])
    write_catalog(folder, {"web": {"source": "oci:web"}, "db": {"source": "oci:db"}})


def build(folder: Path) -> Path:
    lay_out(folder)
    built = run_doit(folder)
    assert built.exit == 0, built.stderr
    return folder


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return build(tmp_path)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one machine makes."""
    folder = tmp_path_factory.mktemp("one")
    small_catalog(folder)
    assert run_doit(folder).exit == 0
    return folder


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that nobody has begun yet, for a catalog of three bundles in two shards."""
    folder, catalog = tmp_path / "cluster", tmp_path / "catalog"
    folder.mkdir()
    catalog.mkdir()
    small_catalog(catalog)
    with free_address() as address:
        cluster = Cluster(folder, catalog, int(address.rpartition(":")[2]))
        try:
            yield cluster
        finally:
            cluster.kill(*cluster.processes)
            eventually(cluster.is_quiet)


@pytest.fixture
def cluster(bare: Cluster) -> Cluster:
    """A scheduler and two workers, which are there."""
    bare.begin("w1", "w2")
    return bare
