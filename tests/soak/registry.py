"""Pulls through a network that does everything to them, at random.

A few rounds are in tests/registry/test_random_faults.py. The long form, by hand:

    python -m tests.soak.registry --rounds 300 --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from c2wtasks.errors import UserError
from c2wtasks.layers.store import Store
from c2wtasks.oci.access import Access
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.registry import client as clients
from c2wtasks.registry import limits
from c2wtasks.registry.limits import Limits
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.resolve import Resolver
from tests.support.faults import (
    Asked,
    Corrupt,
    Cut,
    Drip,
    Expire,
    Fault,
    FaultyProxy,
    Garbage,
    NoRanges,
    Stall,
    Status,
    WrongLength,
    WrongRange,
    to,
)
from tests.support.images import Layer, Layout, tar
from tests.support.registries import PASSWORD, Storage, login

IMAGES = 4
SHORT = Limits(
    connect=5,
    answer=1,
    stall=0.25,
    window=0.4,
    rate=100_000,
    attempts=4,
    first_pause=0.005,
    longest_pause=0.02,
    longest_wait=1,
)


class Soak:
    """Images in a registry that wants a password, behind a faulty proxy; `other` is where redirects lead."""

    def __init__(self, folder: Path, own: FaultyProxy, other: FaultyProxy, tars: list[list[bytes]]) -> None:
        self.folder = folder
        self.own = own
        self.other = other
        self.tars = tars

    def round(self, seed: int) -> str:
        """Pulls an image under the faults of `seed`; says how that ended."""
        rng = random.Random(seed)
        often = rng.choice((0.05, 0.3, 0.6, 0.9))
        self.own.plan = lambda asked: self._fault(rng, asked) if rng.random() < often else None
        self.other.plan = lambda asked: self._fault(rng, asked, far=True) if rng.random() < often / 2 else None
        if rng.random() < 0.5:
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        image = rng.randrange(IMAGES)
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            error = self._pull(image, kept=rng.random() < 0.3)
            self.check_store()
            if error is not None:  # nothing of a failure is in the way of the next try
                self.own.plan = self.other.plan = lambda _asked: None
                again = self._pull(image, kept=False)
                assert again is None, again
        assert all(asked.authorization is None for asked in self.other.asked), "credentials went astray"
        told = f"{said.getvalue()}{error or ''}"
        assert PASSWORD not in told
        assert "\n" not in (error or "")
        self.own.asked.clear()
        self.other.asked.clear()
        return "refused" if error else "tried again" if "trying again" in told else "smooth"

    def _fault(self, rng: random.Random, asked: Asked, *, far: bool = False) -> Fault:
        at = rng.choice((0, 1, 9, 100, rng.randrange(300_000)))
        faults: list[Fault] = [
            Cut(at),
            Cut(at, reset=True),
            Status(rng.choice((500, 502, 503, 504, 408))),
            Status(429, {"Retry-After": rng.choice(("0", "1", "soon", "9999"))}),
            Status(rng.choice((403, 404, 416, 418))),
            Stall(rng.choice((-1, at))),
            Corrupt(at),
            WrongLength(rng.choice((1, -1, 1000, -1000))),
            Drip(0.05, headers=rng.random() < 0.3, after=at),
            Garbage(),
        ]
        if asked.is_blob:
            faults += [NoRanges(), WrongRange(), WrongRange()]
            if not far:
                faults += [Expire(), *[to(self.other.address, asked.path)] * 4]
        return rng.choice(faults)

    def _pull(self, image: int, *, kept: bool) -> str | None:
        """The error's line, None if all went well."""
        clients._client.cache_clear()
        cache = self.folder / "cache"
        access = Access(kept=str(cache / "blobs") if kept else "")
        reference = Reference.parse(f"docker://{self.own.address}/soak:{image}")
        store = Store(str(cache / "layers"))
        try:
            resolver = Resolver(access, Documents(str(cache / "documents")))
            found = resolver.resolve(reference, reference.path, Platform("linux", "amd64"))
            for layer in found.layers:
                store.ensure([layer])
        except UserError as error:
            return str(error)
        have = [Path(store.tar(layer.diff_id)).read_bytes() for layer in found.layers]
        assert have == self.tars[image]
        return None

    def check_store(self) -> None:
        """Each name in the cache is that of its content."""
        cache = self.folder / "cache"
        diff_ids = {f"sha256:{hashlib.sha256(content).hexdigest()}" for tars in self.tars for content in tars}
        for path in cache.rglob("*"):
            if path.is_file() and path.parent.name == "sha256" and path.suffix not in (".idx", ".used"):
                if path.parent.parent.name == "receipts":
                    receipt = Store(str(cache / "layers")).receipt(Digest.parse(f"sha256:{path.name}"))
                    assert receipt is not None, path
                    assert receipt.diff_id in diff_ids
                else:
                    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem, path
        assert not list(cache.rglob(".tmp-*"))


@contextlib.contextmanager
def soak(folder: Path) -> Iterator[Soak]:
    rng = random.Random(5)
    storage = Storage(folder / "registry/storage")
    tars = []
    with storage.serve() as address:
        for number in range(IMAGES):
            layout = Layout(folder / f"layout-{number}")
            size = (10, 3000, 400_000)
            layers = [
                Layer(tar({f"f{at}": rng.randbytes(rng.choice(size))}), rng.choice(("gzip", "zstd", "none")))
                for at in range(3)
            ]
            image = layout.image(*layers, described=True, listed=False)
            layout.index(image, tag="x")
            storage.push_to(address, layout.folder, f"soak:{number}")
            tars.append([layer.content for layer in layers])
        with storage.serve(htpasswd=True) as closed, FaultyProxy(closed) as own, FaultyProxy(address) as other:
            before, waiting = dict(os.environ), limits.DEFAULT
            os.environ.update(login(folder, own.address, other.address))
            limits.DEFAULT = SHORT
            try:
                yield Soak(folder, own, other, tars)
            finally:
                limits.DEFAULT = waiting
                os.environ.clear()
                os.environ.update(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    ended: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, soak(Path(folder)) as made:
        for number in range(arguments.rounds):
            seed = arguments.seed * 1_000_003 + number
            try:
                ended[made.round(seed)] += 1
            except BaseException:
                print(f"round {number} (seed {seed})")
                raise
    print(dict(ended))


if __name__ == "__main__":
    main()
