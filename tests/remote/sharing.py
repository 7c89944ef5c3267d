"""A catalog whose results go through a remote cache in a folder: made and taken in this process, without doit.

shop = Shop(folder); shop.write(KEYS[0]); made = shop.build(shop.remote()); assert made.files == shop.truth
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from c2wtasks.bundlefile.remote import RemoteCache
from c2wtasks.graph import Graph
from c2wtasks.graph.sharing import told
from c2wtasks.oci import signingkey
from c2wtasks.oci.access import Access
from c2wtasks.remote.journal import Event
from c2wtasks.remote.session import Remote, Session
from c2wtasks.remote.uploading import _Writer
from c2wtasks.tasks import form, layer, reuse, spec, tree
from c2wtasks.tasks.build import Build
from tests.graph.catalogs import BASE, write_catalog
from tests.support.images import Layout, tar

KEYS = [signingkey.new() for _ in range(3)]
STRANGER = signingkey.new()
NOISE = random.Random(4).randbytes(300_000).hex()


@dataclass(frozen=True)
class Made:
    """What a build made, by name; what happened; and what a run would say of it."""

    files: dict[str, bytes]
    events: list[Event]
    lines: list[str]

    def count(self, what: str) -> int:
        return sum(event.what == what for event in self.events)


class Shop:
    """A catalog of one image, the remote cache beside it, and what building it without one gives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        Layout(folder / "web").image(BASE, tar({"srv/": None, "srv/noise": NOISE}), cmd=["httpd"], user="app")
        forms = ["tar", {"form": "iso", "tree": "vm"}]
        write_catalog(folder, {"web": {"source": "oci:web", "rootfs": forms}})
        self.keys = []
        for number, key in enumerate(KEYS):
            self.keys.append(str(folder / f"{number}.pub"))
            (folder / f"{number}.pub").write_bytes(signingkey.public_text(key.public_key()))
        self.cache = folder / "remote"
        self.cache.mkdir()
        self.url = f"file://{self.cache}"
        self.truth = self.build(None).files

    def remote(self, *, trusted: int = 1, agree: int = 1, scope: str = "main") -> Remote:
        cache = RemoteCache(self.url, tuple(self.keys[:trusted]), agree=agree)
        return Remote(cache, Access(), scope, (f"{scope}.all",))

    def build(self, remote: Remote | None, *, writes: bool = False) -> Made:
        """All that is made of the image, in a cache and an output that are new."""
        for name in ("cache", "bundles"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        session = Session(remote, writes=writes) if remote is not None else None
        with _in(self.folder):
            graph = Graph.load()
            (build,) = graph.builds
            reuse.use(session)
            try:
                files = self._made(graph, build)
            finally:
                reuse.use(None)
        events = session.journal.since()[0] if session else []
        return Made(files, events, list(told(events, remote)) if remote else [])

    def _made(self, graph: Graph, build: Build) -> dict[str, bytes]:
        for copies in graph.layers.values():
            layer.make(graph.store, copies, whole=False)
        tree.make(build.site, tree.inputs(build), set())
        spec.make(build.site, spec.inputs(build), build.image.config, build.image.parsed)
        files = {name: Path(build.places.part(name)).read_bytes() for name in ("spec.json", "image.json")}
        Path(build.places.part("initconfig.json")).write_bytes(b"{}\n")
        files["tree"] = Path(build.places.tree).read_bytes()
        for one in build.bundle.file_forms:
            form.make(build.site, form.inputs(build, one), build.bundle, one, tree.inputs(build))
            for path in Path(build.places.form(one.name)).rglob("*"):
                files[path.name] = path.read_bytes()
        return files

    def write(self, key: signingkey.EllipticCurvePrivateKey, *, scope: str = "main", lies: bool = False) -> None:
        """Writes what is made here to the remote cache, signed by `key`; with other contents, if it `lies`."""
        remote = self.remote(scope=scope)
        elsewhere = Remote(RemoteCache("file:///nowhere", ()), Access(), scope, ())
        made = self.build(elsewhere, writes=True)
        session = Session(remote)
        writer = _Writer(remote, session.journal)
        writer._key = key
        with _in(self.folder):
            for event in (event for event in made.events if event.what == "made"):
                if lies:
                    for product in event.products:
                        if product.path:
                            Path(product.path).write_bytes(Path(product.path).read_bytes()[:-1] + b"~")
                writer._write(event)
        writer._write_index()


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
