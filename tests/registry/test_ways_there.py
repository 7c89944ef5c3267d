"""Ways to registries as they are: redirects, plain http, certificates, credentials, mirrors, proxies, and ways of
signing in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.oci.access import Access
from c2wtasks.oci.host import Host
from tests.registry.answering import BASIC, PAGE, asks_for, bearer, gives_tokens
from tests.registry.pulling import ONE, Environ, Pulling, afresh, refusal
from tests.support.images import Layout
from tests.support.registries import IDENTITY, Certificate, auth_file, login
from tests.support.shops import BothShop, PlainShop, Reply, Request, Shop, SocksProxy

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
