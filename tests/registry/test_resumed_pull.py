"""A pull that was cut short, by its own end or the network's, goes on from what has come."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from c2wtasks.errors import LayerError
from c2wtasks.sources.model import Layer
from c2wtasks.sources.remote import RemotePlace
from tests.graph.catalogs import write_catalog
from tests.registry.pulling import BIG, Pulling
from tests.support.faults import Asked, Corrupt, Cut, Fault, FaultyProxy, NoRanges, Plan, Stall, Status, on_blobs
from tests.support.images import tar
from tests.support.running import environment, executed

TAR = tar({"big": BIG})
HALF = 450_000


def on_large(layer: Layer, *faults: Fault) -> Plan:
    """These faults, one after another, for requests of this layer's blob; the last of them goes on for ever."""
    left = list(faults)

    def plan(asked: Asked) -> Fault:
        if layer.digest is None or not asked.path.endswith(str(layer.digest)):
            return None
        return left.pop(0) if len(left) > 1 else left[0]

    return plan


class Halved:
    """The big layer, of which a half has come."""

    def __init__(self, proxy: FaultyProxy, pulling: Pulling) -> None:
        self.proxy = proxy
        self.pulling = pulling
        self.layer = pulling.resolve(f"docker://{proxy.address}/team/big:1").layers[0]
        self.partial = pulling.folder / "layers/unfinished" / self.layer.key / "blob"
        proxy.plan = on_large(self.layer, Cut(HALF), Status(500))
        with pytest.raises(LayerError, match="status 500"):
            pulling.store.ensure([self.layer])
        assert self.partial.stat().st_size == HALF
        assert pulling.stored() == set()
        proxy.asked.clear()
        proxy.plan = lambda _asked: None

    def finish(self) -> list[str | None]:
        """Pulls the layer to its end; gives the ranges that were asked for."""
        self.pulling.store.ensure([self.layer])
        assert Path(self.pulling.store.tar(self.layer.diff_id)).read_bytes() == TAR
        assert not self.partial.parent.exists()
        return [asked.range for asked in self.proxy.blobs]


@pytest.fixture
def halved(registry: str, pulling: Pulling) -> Iterator[Halved]:
    with FaultyProxy(registry) as proxy:
        yield Halved(proxy, pulling)


def test_what_the_network_has_cut_short_goes_on(halved: Halved) -> None:
    assert halved.finish() == [f"bytes={HALF}-"]
    assert sum(asked.sent for asked in halved.proxy.blobs) == halved.layer.place.size - HALF


def test_recovering_and_a_second_failure_lose_nothing(halved: Halved) -> None:
    halved.pulling.store.recover()
    halved.proxy.plan = on_large(halved.layer, Cut(100_000), Status(500))
    with pytest.raises(LayerError, match="status 500"):
        halved.pulling.store.ensure([halved.layer])
    halved.proxy.asked.clear()
    halved.proxy.plan = lambda _asked: None
    assert halved.finish() == [f"bytes={HALF + 100_000}-"]


def test_a_registry_without_ranges(halved: Halved) -> None:
    halved.proxy.plan = on_blobs(NoRanges())
    assert halved.finish() == [f"bytes={HALF}-"]


def test_the_rest_comes_damaged(halved: Halved) -> None:
    halved.proxy.plan = on_blobs(Corrupt(1000))
    assert halved.finish() == [f"bytes={HALF}-", None]


def test_kept_blobs_are_whole(halved: Halved) -> None:
    place = halved.layer.place
    assert isinstance(place, RemotePlace)
    kept = halved.pulling.folder / "blobs"
    halved.layer = replace(halved.layer, place=replace(place, access=replace(place.access, kept=str(kept))))
    assert halved.finish() == [f"bytes={HALF}-"]
    (file,) = [path for path in kept.rglob("*") if path.is_file()]
    assert file.stat().st_size == place.size


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def linked(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to("../elsewhere")


def a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


WRONG: dict[str, tuple[Callable[[Path], object], list[str | None]]] = {
    "a bit": (flipped, [f"bytes={HALF}-", None]),
    "cut short": (lambda path: os.truncate(path, 1000), ["bytes=1000-"]),
    "emptied": (lambda path: os.truncate(path, 0), [None]),
    "longer": (lambda path: os.truncate(path, HALF + 1000), [f"bytes={HALF + 1000}-", None]),
    "longer than the blob": (lambda path: os.truncate(path, 1 << 40), [None]),
    "a link": (linked, [None]),
    "a FIFO": (a_fifo, [None]),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), [None]),
}


@pytest.mark.parametrize(("change", "asked"), WRONG.values(), ids=WRONG)
def test_what_has_come_is_not_believed(
    halved: Halved, change: Callable[[Path], object], asked: list[str | None]
) -> None:
    change(halved.partial)
    assert halved.finish() == asked


def test_a_run_that_was_killed_at_half(registry: str, tmp_path: Path, pulling: Pulling) -> None:
    """Both runs together fetch the blob once."""
    with FaultyProxy(registry) as proxy:
        layer = pulling.resolve(f"docker://{proxy.address}/team/big:1").layers[0]
        write_catalog(tmp_path, {"big": {"source": f"docker://{proxy.address}/team/big:1"}})
        proxy.asked.clear()
        proxy.plan = on_large(layer, Stall(HALF))
        partial = tmp_path / "cache/layers/unfinished" / layer.key / "blob"
        command = [sys.executable, "-m", "doit", "-n", "1"]
        with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as run:
            while not partial.exists() or partial.stat().st_size < HALF:
                assert run.poll() is None
                time.sleep(0.01)
            run.kill()
        proxy.plan = lambda _asked: None
        assert "bundle:big@linux/amd64" in executed(tmp_path)
        of_layer = [asked for asked in proxy.blobs if asked.path.endswith(str(layer.digest))]
        assert [asked.range for asked in of_layer] == [None, f"bytes={HALF}-"]
        assert sum(asked.sent for asked in of_layer) <= 1.1 * layer.place.size
    assert list((tmp_path / "cache/layers/unfinished").iterdir()) == []
