"""Registries as they are: what the specification does not foresee, and users met with."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from c2wtasks.errors import MAX_LINE, UserError
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.host import Host
from c2wtasks.oci.imagename import ImageName
from c2wtasks.registry import client as clients
from c2wtasks.registry.hosts import Access
from c2wtasks.sources.docker import RegistryImage
from c2wtasks.sources.documents import Documents
from tests.registry.pulling import Pulling
from tests.support.images import Layout, tar
from tests.support.registries import IDENTITY, PASSWORD, USER, Certificate, Storage, auth_file, login
from tests.support.shops import BothShop, PlainShop, Reply, Request, Shop, SocksProxy

Environ = Callable[[dict[str, str]], None]
ONE = [tar({"one": "1"})]
BASIC = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
PAGE = Reply(200, b"<!DOCTYPE html><title>Gallery</title>", {"Content-Type": "text/html; charset=utf-8"})


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout of the image `1`, a single manifest with one layer."""
    layout = Layout(tmp_path_factory.mktemp("shop") / "one")
    layout.image({"one": "1"}, tag="1")
    return layout.folder


@pytest.fixture
def shop(one: Path) -> Iterator[Shop]:
    with Shop(one) as made:
        yield made


def refusal(pulling: Pulling, source: str) -> str:
    with pytest.raises(UserError) as caught:
        pulling.pull(source)
    line = str(caught.value)
    assert len(line) <= MAX_LINE
    assert line.isprintable()
    return line


def afresh(folder: Path) -> Pulling:
    """As another run, which remembers nothing of logins."""
    clients.client.cache_clear()
    return Pulling(folder)


def asks_for(authorization: str) -> Callable[[Request], Reply | None]:
    """Lets in who sends that, and asks all others for a password."""
    challenge = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    return lambda asked: None if asked.authorization == authorization else challenge


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


# Redirects.


def sends_on(to: Shop | str) -> Callable[[Request], Reply | None]:
    target = to if isinstance(to, str) else to.url
    return lambda asked: Reply(307, headers={"Location": target + asked.path}) if asked.path != "/v2/" else None


def test_another_registry_is_asked_as_itself(
    shop: Shop, one: Path, pulling: Pulling, tmp_path: Path, environ: Environ
) -> None:
    with Shop(one) as other:
        other.odd = asks_for(BASIC)
        shop.odd = sends_on(other)
        line = refusal(pulling, f"docker://{shop.address}/a/b:1")
        assert line.startswith(f"{other.address}/a/b: the registry lets only users read this")
        assert line.endswith(f"skopeo login --tls-verify=false {other.address}")
        environ(login(tmp_path, other.address))
        assert Pulling(tmp_path / "new").pull(f"docker://{shop.address}/a/b:1") == ONE
        assert {asked.authorization for asked in shop.asked} == {None}


def test_another_registry_with_tokens(shop: Shop, one: Path, pulling: Pulling) -> None:
    with Shop(one) as other:
        challenge = {"WWW-Authenticate": f'Bearer realm="{other.url}/token",service="s"'}

        def odd(asked: Request) -> Reply | None:
            if asked.path.startswith("/token?"):
                return Reply(200, b'{"token": "t"}')
            return None if asked.authorization == "Bearer t" else Reply(401, headers=challenge)

        other.odd = odd
        shop.odd = sends_on(other)
        assert pulling.pull(f"docker://{shop.address}/a/b:1") == ONE
        tokens = [asked.path for asked in other.asked if asked.path.startswith("/token")]
        assert tokens == ["/token?service=s&scope=repository%3Aa%2Fb%3Apull"], "one token serves for all"


def test_no_credentials_from_https_to_http(
    one: Path, certificate: Certificate, pulling: Pulling, tmp_path: Path, environ: Environ
) -> None:
    with Shop(one, certificate) as shop, Shop(one) as other:
        environ({"SSL_CERT_FILE": str(certificate.ca), **login(tmp_path, other.address, shop.address)})
        other.odd = asks_for(BASIC)
        shop.odd = sends_on(other)
        line = refusal(pulling, f"docker://{shop.address}/a:1")
        assert f"status 401 ({shop.url}/v2/a/manifests/1, sent on to {other.url}), the last of several" in line
        assert {asked.authorization for asked in other.asked} == {None}
        assert len(other.asked) == 3, "HEAD, GET, and once more"


def bearer(realm: str) -> Callable[[Request], Reply | None]:
    challenge = Reply(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})
    return lambda asked: None if asked.authorization == "Bearer t" else challenge


def gives_tokens(asked: Request) -> Reply | None:
    if asked.path.startswith("/old"):
        return Reply(307, headers={"Location": asked.path.replace("/old", "/token")})
    return Reply(200, b'{"token": "t"}') if asked.path.startswith("/token") else None


@pytest.mark.parametrize("secret", ["password", "identity token"])
def test_servers_of_tokens_that_send_on(shop: Shop, one: Path, tmp_path: Path, environ: Environ, secret: str) -> None:
    auth = {"auth": BASIC.removeprefix("Basic ")} if secret == "password" else {"identitytoken": IDENTITY}
    environ(auth_file(tmp_path, {shop.address: auth}))
    with Shop(one) as tokens, Shop(one) as first:
        tokens.odd = gives_tokens
        shop.odd = bearer(f"{tokens.url}/old")
        assert Pulling(tmp_path / "a").pull(f"docker://{shop.address}/a:1") == ONE
        assert len(tokens.asked) == 2
        if secret == "password":
            assert {asked.authorization for asked in tokens.asked} == {BASIC}, "the same host gets them again"
        else:
            assert all(IDENTITY in asked.body for asked in tokens.asked)
        tokens.asked.clear()
        first.odd = sends_on(tokens)
        shop.odd = bearer(f"{first.url}/token")
        if secret == "password":
            assert afresh(tmp_path / "b").pull(f"docker://{shop.address}/b:1") == ONE
            assert {asked.authorization for asked in first.asked} == {BASIC}
        else:
            line = refusal(Pulling(tmp_path / "b"), f"docker://{shop.address}/b:1")
            assert f"{first.address} sends on to {tokens.url} for a token" in line
        assert {asked.authorization for asked in tokens.asked} <= {None}, "another host gets none"
        assert not [asked for asked in tokens.asked if IDENTITY in asked.body]


def test_tokens_from_https_to_http_of_one_host(
    shop: Shop, one: Path, certificate: Certificate, pulling: Pulling, tmp_path: Path, environ: Environ
) -> None:
    with BothShop(one, certificate) as tokens:
        environ({"SSL_CERT_FILE": str(certificate.ca), **login(tmp_path, shop.address)})
        tokens.odd = lambda asked: (
            Reply(307, headers={"Location": f"http://{tokens.address}/token"})
            if asked.path.startswith("/old")
            else gives_tokens(asked)
        )
        shop.odd = bearer(f"https://{tokens.address}/old")
        assert pulling.pull(f"docker://{shop.address}/a:1") == ONE
        assert [(asked.path[:4], asked.authorization) for asked in tokens.asked] == [("/old", BASIC), ("/tok", None)]


# Plain http.


@pytest.mark.parametrize("at_tls", ["close", "reset", "hang"])
def test_whoever_does_not_answer_to_tls_is_asked_by_http(
    one: Path, pulling: Pulling, capfd: pytest.CaptureFixture[str], at_tls: str
) -> None:
    with PlainShop(one, at_tls) as shop:
        assert pulling.pull(f"docker://{shop.address}/a:1") == ONE
    assert capfd.readouterr().err == "", "at once"


def test_no_http_where_tls_alone_is_spoken(
    one: Path, certificate: Certificate, pulling: Pulling, tmp_path: Path, environ: Environ
) -> None:
    """Neither where the certificate is not trusted, nor where http is answered with what TLS servers say."""
    with BothShop(one, certificate) as shop:
        assert "certificate is not trusted" in refusal(pulling, f"docker://{shop.address}/a:1")
        assert shop.asked == []
    with PlainShop(one, "close") as plain:
        plain.odd = lambda _asked: Reply(400, b"Client sent an HTTP request to an HTTPS server.\n")
        line = refusal(pulling, f"docker://{plain.address}/a:1")
        assert "the last of several tries; run again later" in line


# Certificates.


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def test_a_ca_without_extensions_and_one_in_between(
    one: Path, pulling: Pulling, tmp_path: Path, environ: Environ
) -> None:
    """As `openssl req -x509` makes it; Python 3.13 verifies more strictly, and less so what is in between."""
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    (tmp_path / "ca").write_text("basicConstraints=CA:TRUE\n")
    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*new, "-x509", "-subj", "/CN=root", "-keyout", tmp_path / "root.key", "-out", tmp_path / "root.pem")
    for name, above, extensions in (("between", "root", "ca"), ("leaf", "between", "names")):
        key, request = tmp_path / f"{name}.key", tmp_path / f"{name}.csr"
        openssl(*new, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        signer = ("-CA", tmp_path / f"{above}.pem", "-CAkey", tmp_path / f"{above}.key", "-CAcreateserial")
        made = ("-extfile", tmp_path / extensions, "-out", tmp_path / f"{name}.pem")
        openssl("x509", "-req", "-in", request, *signer, *made)
    chain = tmp_path / "chain.pem"
    chain.write_text((tmp_path / "leaf.pem").read_text() + (tmp_path / "between.pem").read_text())
    with Shop(one, Certificate(tmp_path / "root.pem", chain, tmp_path / "leaf.key")) as shop:
        for name in ("root", "between"):
            environ({"SSL_CERT_FILE": str(tmp_path / f"{name}.pem")})
            assert afresh(tmp_path / name).pull(f"docker://{shop.address}/a:1") == ONE


# Credentials.


def test_what_cannot_be_read_hides_no_public_image(
    shop: Shop, pulling: Pulling, tmp_path: Path, environ: Environ, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "auth.json").write_text(json.dumps({"credsStore": "that-is-not-there"}))
    environ({"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")})
    with Shop(shop_layout(shop, tmp_path)) as tokens:
        tokens.odd = gives_tokens
        shop.odd = bearer(f"{tokens.url}/token")
        assert pulling.pull(f"docker://{shop.address}/a:1") == ONE
    program = "docker-credential-that-is-not-there"
    line = (
        f"{shop.address}: asked without credentials: {program}, which {tmp_path}/auth.json names, is not installed\n"
    )
    assert capfd.readouterr().err == line


def shop_layout(shop: Shop, folder: Path) -> Path:
    Layout(folder / "none").image({"x": "y"}, tag="1")
    return folder / "none"


# Mirrors.


@pytest.mark.parametrize(
    ("path", "begins"),
    [
        ("/hub", "/v2/hub/a:"),
        ("/v2/hub", "/v2/hub/a:"),
        ("/artifactory/api/docker/hub/v2", "/artifactory/api/docker/hub/v2/a:"),
        ("/api/v2/hub", "/api/v2/hub/a:"),
        ("/v2", "/v2/a:"),
    ],
)
def test_mirrors_below_a_path(shop: Shop, tmp_path: Path, path: str, begins: str) -> None:
    access = Access((("registry.example", Host(mirrors=(shop.address + path,))),))
    assert Pulling(tmp_path / "c", access).pull("docker://registry.example/a:1") == ONE
    paths = {asked.path for asked in shop.asked if asked.path != "/v2/"}
    assert {one[: len(begins) - 1] for one in paths} == {begins[:-1]}


def test_a_wrong_path_below_a_mirror_is_shown(
    shop: Shop, one: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Shop(one) as own:
        access = Access(((own.address, Host(mirrors=(f"{shop.address}/wrong",))),))
        shop.odd = lambda asked: Reply(404, PAGE.body, PAGE.headers) if "wrong" in asked.path else None
        assert Pulling(tmp_path / "c", access).pull(f"docker://{own.address}/a:1") == ONE
        url = f"{shop.url}/v2/wrong/a/manifests/1"
        assert f"(status 404, text/html, {url}); asking the next\n" in capfd.readouterr().err


# SOCKS.


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy(one: Path, certificate: Certificate, pulling: Pulling, environ: Environ, scheme: str) -> None:
    pytest.importorskip("socks", reason="PySocks is not installed")
    with (
        Shop(one, certificate) as shop,
        SocksProxy(shop.address, ("user", "geheim")) as proxy,
    ):
        environ({"SSL_CERT_FILE": str(certificate.ca), "HTTPS_PROXY": f"{scheme}://user:geheim@{proxy.address}"})
        assert pulling.pull("docker://registry.example/a:1") == ONE
        assert set(proxy.names) == {"registry.example"}
        environ({"HTTPS_PROXY": f"{scheme}://user:falsch-geheim@{proxy.address}"})
        line = refusal(afresh(pulling.folder / "x"), "docker://registry.example/a:1")
        assert "geheim" not in line


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        (
            "ftp://proxy.example",
            "names a proxy of the kind 'ftp', which is not known; there are: http, https, socks5",
        ),
        ("http://user:geheim@[x", "has no proper URL"),
        ("http://proxy.example:geheim", "has no proper URL"),
    ],
)
def test_proxies_that_cannot_be(pulling: Pulling, environ: Environ, proxy: str, message: str) -> None:
    environ({"HTTPS_PROXY": proxy})
    line = refusal(pulling, "docker://registry.example/a:1")
    assert message in line
    assert "HTTPS_PROXY" in line
    assert "geheim" not in line


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


# Ways of signing in that we have not.


@pytest.mark.parametrize(
    ("headers", "ways"),
    [
        (["Negotiate"], "negotiate"),
        (["NTLM, Negotiate oRQwEqADCgEB"], "ntlm and negotiate"),
        (['Digest realm="x", qop="auth", nonce="n"'], "digest"),
        ([f"{'x' * 5000}"], "x" * 40),
    ],
)
@pytest.mark.parametrize("logged_in", [False, True])
def test_a_way_of_signing_in_that_is_not_known(
    shop: Shop, pulling: Pulling, tmp_path: Path, environ: Environ, headers: list[str], ways: str, logged_in: bool
) -> None:
    shop.odd = lambda asked: Reply(401, headers={"WWW-Authenticate": headers[0]})
    if logged_in:
        environ(login(tmp_path, shop.address))
    line = refusal(pulling, f"docker://{shop.address}/a:1")
    assert (
        f"{shop.address} asks to sign in by {ways}, which is not supported; basic and bearer are (status 401" in line
    )
    assert "login" not in line


def test_a_server_of_tokens_that_asks_so(shop: Shop, one: Path, pulling: Pulling) -> None:
    with Shop(one) as tokens:
        tokens.odd = lambda asked: Reply(401, headers={"WWW-Authenticate": "Negotiate"})
        shop.odd = bearer(f"{tokens.url}/token")
        line = refusal(pulling, f"docker://{shop.address}/a:1")
    assert f"{shop.address}/a: {tokens.address} asks to sign in by negotiate" in line


def test_basic_beside_what_is_not_known(shop: Shop, pulling: Pulling, tmp_path: Path, environ: Environ) -> None:
    shop.odd = lambda asked: (
        None
        if asked.authorization == BASIC
        else Reply(401, headers={"WWW-Authenticate": 'Negotiate, Basic realm="x"'})
    )
    assert "log in first" in refusal(pulling, f"docker://{shop.address}/a:1")
    environ(login(tmp_path, shop.address))
    assert afresh(tmp_path / "new").pull(f"docker://{shop.address}/a:1") == ONE
