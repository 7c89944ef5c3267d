"""A remote cache held against what comes of the same inputs here: some bundles are made anew, apart, and compared."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from c2wtasks.cachedir import layout
from c2wtasks.disk import safely
from c2wtasks.layers.store import Store
from c2wtasks.output import outputs
from c2wtasks.output.places import Places
from c2wtasks.remote.claim import Claim, Kind, Output
from c2wtasks.remote.journal import Product
from c2wtasks.remote.session import Remote, Session
from c2wtasks.tasks import boot, form, layer, reuse, spec, tree
from c2wtasks.tasks.build import Build, Site


class Comparing(Session):
    """A session that takes nothing, and compares what is made with what is claimed of it."""

    def __init__(self, remote: Remote) -> None:
        super().__init__(remote, writes=True)
        self.compared = 0
        self.wrong: list[str] = []
        self._done: set[str] = set()

    def find(self, kind: Kind, key: str) -> Claim | None:
        return None

    def is_worth(self, seconds: float, size: int) -> bool:
        return True

    def offer(self, kind: Kind, key: str, products: Iterable[Product], seconds: float) -> None:
        claim = super().find(kind, key)
        if claim is None or key in self._done:
            return
        self._done.add(key)
        self.compared += 1
        made = {product.name: product for product in products}
        if made.keys() != {output.name for output in claim.outputs}:
            self.wrong.append(f"{kind} {key[:12]}: it has other outputs")
        for output in claim.outputs:
            if output.name not in made:
                continue
            if not self._is_same(made[output.name], output):
                self.wrong.append(f"{kind} {key[:12]}: {output.name} is not what is made here")

    def _is_same(self, product: Product, output: Output) -> bool:
        """Whether an output is what was made here; a packed one is compared as it unpacks. Raises OSError."""
        if output.unpacked:
            content = product.content if product.content is not None else safely.read(product.path, 1 << 40)
            return self.content(output) == content
        if product.content is not None:
            made = outputs.of_bytes(product.content)
        else:
            with safely.open_quietly(product.path) as stream:
                made = outputs.of_stream(stream)
        return (made.sha256, made.size) == (output.sha256, output.size)


def sampled(builds: list[Build], percent: float, seed: int) -> list[Build]:
    """So many of the bundles, by chance, and one at least."""
    count = max(1, round(len(builds) * percent / 100))
    return random.Random(seed).sample(builds, min(count, len(builds)))


def recompute(builds: Iterable[Build], session: Comparing, folder: str, max_layer_size: int | None) -> Iterator[str]:
    """Makes bundles anew in a folder, and compares; gives their names, each before it is made. No layer may have a
    tar of more than `max_layer_size` bytes, if that is not None.

    Raises UserError: one cannot be made.
    """
    store = Store(f"{folder}/{layout.LAYERS}", max_layer_size)
    reuse.use(session)
    try:
        for one in builds:
            yield str(one.bundle)
            site = Site(Places.of(f"{folder}/bundles", one.bundle), store, one.image.layers)
            build = replace(one, site=site)
            for each in build.image.layers:
                layer.make(store, [each], whole=True)
            tree.make(site, tree.inputs(build), set())
            spec.make(site, spec.inputs(build), build.image.config, build.image.parsed)
            boot.make(site, boot.inputs(build))
            for form_ in build.bundle.file_forms:
                form.make(site, form.inputs(build, form_), build.bundle, form_, tree.inputs(build))
    finally:
        reuse.use(None)
