"""Workers that pull: each with connections of its own, though they are forked from a run that has some open."""

from __future__ import annotations

import os
import random
from pathlib import Path

from c2wtasks.oci.access import Access
from c2wtasks.registry.client import client
from tests.graph.catalogs import write_catalog
from tests.support.hooking import WORKERS_AT_ONCE, hooked
from tests.support.images import Layer, Layout, tar
from tests.support.registries import Storage
from tests.support.running import run_doit

WORKERS = 6
LAYERS = 24


def test_each_process_has_its_own_client() -> None:
    ours = client(Access())
    assert client(Access()) is ours
    pid = os.fork()
    if pid == 0:
        os._exit(client(Access()) is ours)
    assert os.waitpid(pid, 0)[1] == 0


def test_many_layers_at_once(tmp_path: Path) -> None:
    rng = random.Random(8)
    contents = {f"file{number}": rng.randbytes(300_000) for number in range(LAYERS)}
    storage = Storage(tmp_path / "storage")
    layout = Layout(tmp_path / "made")
    layout.image(*(Layer(tar({name: content})) for name, content in contents.items()), tag="1")
    storage.push(layout.folder, "many:1", tag="1")
    with storage.serve() as address:
        write_catalog(tmp_path, {"many": f"docker://{address}/many:1"}, registries={address: {"insecure": True}})
        done = run_doit(tmp_path, "-n", str(WORKERS), env=hooked(tmp_path / "hooks", WORKERS_AT_ONCE))
    assert (done.exit, done.stderr.count("\n")) == (0, 1), done.stderr  # "bundle.lock: added ..."
    root = tmp_path / "bundles/many/linux-amd64/rootfs"
    assert {path.name: path.read_bytes() for path in root.iterdir()} == contents
