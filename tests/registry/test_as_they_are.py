"""Registries as they are: answers that the specification does not foresee, and users met with."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path

import pytest

from c2wtasks.errors import UserError
from c2wtasks.oci.access import Access
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.imagename import ImageName
from c2wtasks.sources.docker import RegistryImage
from c2wtasks.sources.documents import Documents
from tests.registry.answering import BASIC, PAGE, asks_for
from tests.registry.pulling import ONE, Environ, Pulling, refusal
from tests.support.registries import Storage, login
from tests.support.shops import Reply, Request, Shop

# HEAD.


@pytest.mark.parametrize(
    "refused",
    [
        *(Reply(status) for status in (400, 401, 403, 404, 405, 406, 500, 501, 503)),
        Reply(401, headers={"WWW-Authenticate": "Negotiate"}),
        Reply(200, headers={"Docker-Content-Digest": "sha256:../../etc/passwd"}),
        Reply(204),
        Reply(307),
        b"",
        b"\0\1 no HTTP\r\n\r\n",
    ],
    ids=str,
)
def test_where_head_is_refused_get_decides(shop: Shop, pulling: Pulling, refused: Reply | bytes) -> None:
    shop.odd = lambda asked: refused if asked.method == "HEAD" else None
    assert pulling.pull(f"docker://{shop.address}/a/b:1") == ONE
    assert [asked.method for asked in shop.asked if "/manifests/" in asked.path] == ["HEAD", "GET"]


def test_a_link_that_is_signed_for_get(shop: Shop, one: Path, pulling: Pulling) -> None:
    with Shop(one) as storage:
        storage.odd = lambda asked: Reply(403) if asked.method == "HEAD" else None
        shop.odd = lambda asked: (
            Reply(307, headers={"Location": f"{storage.url}{asked.path}"}) if "manifests" in asked.path else None
        )
        assert pulling.pull(f"docker://{shop.address}/a/b:1") == ONE


def test_a_wrong_password_is_not_tried_again_by_get(
    shop: Shop, pulling: Pulling, tmp_path: Path, environ: Environ
) -> None:
    environ(login(tmp_path, shop.address, password="wrong"))
    shop.odd = asks_for(BASIC)
    assert "refuses the credentials given" in refusal(pulling, f"docker://{shop.address}/a:1")
    assert len([asked for asked in shop.asked if asked.authorization]) == 1


# What comes in the place of what was asked for.


def gzipped(reply: Reply) -> Reply:
    body = gzip.compress(reply.body)
    return Reply(200, body, {**reply.headers, "Content-Encoding": "gzip"})


def test_documents_that_were_compressed_on_the_way(shop: Shop, pulling: Pulling) -> None:
    layer = pulling.resolve(f"docker://{shop.address}/a:1").layers[0].digest
    shop.odd = lambda asked: (
        gzipped(shop.reply(asked)) if asked.path != "/v2/" and not asked.path.endswith(str(layer)) else None
    )
    for source in ("a:1", f"a@{next(iter(shop.tags.values()))['digest']}"):
        assert Pulling(pulling.folder / source).pull(f"docker://{shop.address}/{source}") == ONE


def test_a_layer_that_was_compressed_on_the_way(shop: Shop, pulling: Pulling) -> None:
    image = pulling.resolve(f"docker://{shop.address}/a:1")
    shop.odd = lambda asked: gzipped(shop.reply(asked)) if asked.is_blob else None
    shop.asked.clear()
    line = refusal(pulling, f"docker://{shop.address}/a:1")
    assert f"(status 200, Content-Encoding: gzip, {shop.url}/v2/a/blobs/{image.layers[0].digest})" in line
    assert "compresses what it passes on" in line
    assert len([asked for asked in shop.asked if asked.is_blob]) <= 2, "no try that cannot help"


@pytest.mark.parametrize("label", ["gzip", "x-gzip"])
def test_a_mere_label(shop: Shop, pulling: Pulling, label: str) -> None:
    shop.odd = lambda asked: (
        Reply(200, shop.reply(asked).body, {"Content-Encoding": label}) if asked.is_blob else None
    )
    assert pulling.pull(f"docker://{shop.address}/a:1") == ONE


def test_no_registry_at_all(shop: Shop, pulling: Pulling) -> None:
    shop.odd = lambda _asked: PAGE
    for reference, path in (("a:1", "manifests/1"), (f"a@sha256:{'0' * 64}", f"manifests/sha256:{'0' * 64}")):
        line = refusal(pulling, f"docker://{shop.address}/{reference}")
        assert f"what came is not what a registry gives (status 200, text/html, {shop.url}/v2/a/{path})" in line
    assert len([asked for asked in shop.asked if asked.method == "GET" and asked.path != "/v2/"]) == 2


@pytest.mark.parametrize("kind", ["config", "layer"])
def test_a_page_in_a_blobs_place(shop: Shop, pulling: Pulling, kind: str) -> None:
    image = pulling.resolve(f"docker://{shop.address}/a:1")
    digest = image.config_digest if kind == "config" else image.layers[0].digest
    shop.odd = lambda asked: PAGE if asked.path.endswith(str(digest)) else None
    line = refusal(Pulling(pulling.folder / "new"), f"docker://{shop.address}/a:1")
    assert f"(status 200, text/html, {shop.url}/v2/a/blobs/{digest})" in line


def test_json_that_is_something_else(shop: Shop, pulling: Pulling) -> None:
    shop.odd = lambda asked: Reply(200, b'["a"]', {"Content-Type": "application/json"})
    assert "what came is not what a registry gives (status 200, http://" in refusal(
        pulling, f"docker://{shop.address}/a:1"
    )


def test_a_digest_that_does_not_fit_is_asked_for_twice(shop: Shop, pulling: Pulling) -> None:
    shop.odd = lambda asked: (
        Reply(200, b'{"x":1}', {"Docker-Content-Digest": f"sha256:{'0' * 64}"}) if "manifests" in asked.path else None
    )
    line = refusal(pulling, f"docker://{shop.address}/a:1")
    assert "what came has the digest sha256:5041bf1f713d (status 200, " in line
    assert "run again later" not in line
    assert [asked.method for asked in shop.asked if "manifests" in asked.path] == ["HEAD", "GET", "GET"]


def test_what_head_tells_holds_where_get_tells_nothing(shop: Shop, pulling: Pulling) -> None:
    other = Reply(200, b'{"schemaVersion": 2, "manifests": []}')
    shop.odd = lambda asked: other if asked.method == "GET" and "manifests" in asked.path else None
    assert "what came has the digest sha256:" in refusal(pulling, f"docker://{shop.address}/a:1")


# Manifests that are known by their tag alone.


def by_tag_alone(asked: Request) -> Reply | None:
    return Reply(404, b"{}") if "/manifests/sha256:" in asked.path else None


def test_a_digest_that_is_not_served(shop: Shop, pulling: Pulling) -> None:
    shop.odd = by_tag_alone
    digest = shop.tags["1"]["digest"]
    for source in ("a:1", f"a:1@{digest}"):
        assert Pulling(pulling.folder / source).pull(f"docker://{shop.address}/{source}") == ONE
    line = refusal(Pulling(pulling.folder / "x"), f"docker://{shop.address}/a@{digest}")
    assert f"no such image or blob (status 404, {shop.url}/v2/a/manifests/{digest})" in line


def test_a_locked_digest_that_is_not_served(shop: Shop, tmp_path: Path) -> None:
    shop.odd = by_tag_alone
    name = ImageName.parse(f"{shop.address}/a:1")
    documents = Documents(str(tmp_path / "documents"))
    digest = Digest.parse(shop.tags["1"]["digest"])
    assert RegistryImage(name, Access(), documents).locked(digest).manifest_digest == digest
    other = Digest.of(b"another")
    with pytest.raises(UserError, match=f"status 404, .*/{other}"):
        RegistryImage(name, Access(), documents).locked(other)


# Whatever comes, it is one line.


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x08\0\0",
        b"HTTP/1.1 999 \x1b[31m\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 x\r\nContent-Type: \x1b[31m\xff\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/9.9 abc\r\n\r\n",
        b"HTTP/1.1 429 x\r\nRetry-After: " + b"9" * 5000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 x\r\nRetry-After: , Jan 9999 00:00:60 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 x\r\nRetry-After: Wed, 21 Oct 99999 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n",
        *(
            b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n" + b"WWW-Authenticate: " + value + b"\r\n\r\n"
            for value in (
                b"Bearer",
                b"Bearer a=b," + b" " * 60_000 + b";",
                b"Bearer " + b"a " * 30_000,
                b'Bearer realm="http://["',
                b'Bearer realm="ftp://x"',
                b'Bearer realm="/token"',
                b'Bearer realm="https://u:geheim@x/"',
                b'Bearer realm="http://' + b"a" * 300 + b'.example/"',
            )
        ),
        *(
            b"HTTP/1.1 307 x\r\nContent-Length: 0\r\nLocation: " + value + b"\r\n\r\n"
            for value in (
                b"//",
                b"http://\x1b[31mevil\x07/",
                b"http://127.0.0.1:99999/",
                b"https://a..b/",
                b"https://" + b"a" * 64 + b".example/",
                b"https://\xff\xfe/",
                b"x",
            )
        ),
    ],
    ids=lambda answer: repr(answer[:70]),
)
def test_whatever_comes_is_told_in_one_line(shop: Shop, pulling: Pulling, answer: bytes) -> None:
    shop.odd = lambda asked: answer if asked.path != "/v2/" else None
    assert "geheim" not in refusal(pulling, f"docker://{shop.address}/a:1")


@pytest.mark.parametrize(
    "token",
    [
        b'{"x":' + b"[" * 400_000 + b"]" * 400_000 + b',"token":"t"}',
        b'{"token":' + b"1" * 5000 + b"}",
        rb'{"token":"\ud800"}',
        b'{"token":["t"]}',
        b"[]",
        b"{}",
        b'{"token":"' + b"t" * (2 << 20) + b'"}',
        PAGE.body,
    ],
    ids=lambda token: repr(token[:20]),
)
def test_tokens_that_cannot_be_read(shop: Shop, pulling: Pulling, token: bytes) -> None:
    def odd(asked: Request) -> Reply | None:
        if asked.path.startswith("/token"):
            return Reply(200, token, {"Content-Type": "text/html"})
        return Reply(401, headers={"WWW-Authenticate": f'Bearer realm="{shop.url}/token?secret=geheim"'})

    shop.odd = odd
    assert refusal(pulling, f"docker://{shop.address}/a:1") == (
        f"{shop.address}/a: {shop.address} gave a token that cannot be read (status 200, text/html, {shop.url}/token)"
    )


def test_many_bundles_wait_for_few_connections_and_their_tokens(
    shop: Shop, storage: Storage, pulling: Pulling
) -> None:
    """The server of tokens is the registry itself: who waits for a token holds no connection."""

    def odd(asked: Request) -> Reply | None:
        if asked.path.startswith("/token"):
            return Reply(200, b'{"token": "t"}')
        challenge = {"WWW-Authenticate": f'Bearer realm="{shop.url}/token",service="s"'}
        return None if asked.authorization == "Bearer t" else Reply(401, b"x" * 1000, challenge)

    shop.odd = odd
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(pulling.resolve(f"docker://{shop.address}/a{n}:1")))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 20


@pytest.mark.parametrize("status", [404, 503])
def test_answers_that_are_not_read_keep_no_connections(shop: Shop, pulling: Pulling, status: int) -> None:
    """Error pages too long to be read to their end: more than the connections that a host may have."""
    shop.odd = lambda asked: Reply(status, b"x" * 100_000) if "/bad/" in asked.path else None
    pulled: list[list[bytes]] = []

    def pull() -> None:
        for number in range(8):
            refusal(pulling, f"docker://{shop.address}/bad/b{number}:1")
        pulled.append(pulling.pull(f"docker://{shop.address}/a/b:1"))

    thread = threading.Thread(target=pull, daemon=True)  # which would wait for a connection for good
    thread.start()
    thread.join(30)
    assert pulled == [ONE]
