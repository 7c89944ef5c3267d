"""Every hint is true: done as it says, the image is what the user meant."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from c2wtasks.oci.access import Access
from c2wtasks.oci.host import Host
from tests.registry.answering import BASIC, asks_for, bearer, gives_tokens
from tests.registry.pulling import ONE, Environ, Pulling, afresh, refusal
from tests.support.registries import PASSWORD, USER, Certificate, HttpsProxy, Storage, TokenServer, login
from tests.support.shops import Reply, Shop, SocksProxy


def log_in(line: str, environ: dict[str, str]) -> None:
    """Does the login that a hint shows, as the user of the tests."""
    found = re.search(r"skopeo login .*", line)
    assert found, line
    words = shlex.split(found[0])
    words[2:2] = ["--username", USER, "--password", PASSWORD]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.fixture
def home(tmp_path: Path, environ: Environ) -> dict[str, str]:
    """An environment with a folder for credentials, as a session has."""
    (tmp_path / "run").mkdir()
    environ({"XDG_RUNTIME_DIR": str(tmp_path / "run")})
    return dict(os.environ)


BEFORE = {  # what was wrong with the credentials, and what to do before logging in
    "none": ("", "log in first, for example with: "),
    "wrong": (json.dumps({"auths": {"@": {"auth": "cmVhZGVyOndyb25n"}}}), "log in again: "),
    "not JSON": ("{x", "mend or remove it, then log in: "),
    "bad entry": (json.dumps({"auths": {"@": {"auth": "x!"}}}), "remove that entry, then log in: "),
    "no helper": (
        json.dumps({"credsStore": "that-is-not-there"}),
        "install it, or remove it from that file, then log in: ",
    ),
    "no helper for this": (
        json.dumps({"credHelpers": {"@": "that-is-not-there"}}),
        "install it, or remove it from that file, then log in: ",
    ),
    "bad helper": (
        json.dumps({"credHelpers": {"@": "../x"}}),
        "mend that, or remove it from that file, then log in: ",
    ),
}


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("wrong", BEFORE)
def test_logging_in(
    storage: Storage, certificate: Certificate, home: dict[str, str], tmp_path: Path, wrong: str, tokens: bool
) -> None:
    text, hint = BEFORE[wrong]
    with (
        TokenServer(certificate) as server,
        storage.serve(htpasswd=not tokens, tokens=server if tokens else None) as at,
    ):
        file = tmp_path / "home/.docker/config.json"
        file.parent.mkdir()
        if text:
            file.write_text(text.replace("@", at))
        source = f"docker://{at}/team/one:1"
        line = refusal(Pulling(tmp_path / "a"), source)
        assert f"; {hint}skopeo login --tls-verify=false {at}" in line
        if "remove" in hint:
            file.unlink()
        log_in(line, home)
        assert afresh(tmp_path / "b").pull(source) == ONE


def test_logging_in_where_tls_is_spoken(
    storage: Storage, certificate: Certificate, home: dict[str, str], tmp_path: Path, environ: Environ
) -> None:
    environ({"SSL_CERT_FILE": str(certificate.ca)})
    with storage.serve(htpasswd=True, certificate=certificate) as at:
        line = refusal(Pulling(tmp_path / "a"), f"docker://{at}/team/one:1")
        log_in(line, home | {"SSL_CERT_FILE": str(certificate.ca)})
        assert afresh(tmp_path / "b").pull(f"docker://{at}/team/one:1") == ONE


def test_a_file_of_credentials_that_is_not_there(
    storage: Storage, home: dict[str, str], tmp_path: Path, environ: Environ
) -> None:
    file = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    with storage.serve(htpasswd=True) as at:
        environ(file)  # not before, as docker-registry would take it for a setting of its own
        line = refusal(Pulling(tmp_path / "a"), f"docker://{at}/team/one:1")
        assert f"$REGISTRY_AUTH_FILE names {tmp_path}/auth.json, which does not exist; log in: skopeo" in line
        log_in(line, home | file)
        assert afresh(tmp_path / "b").pull(f"docker://{at}/team/one:1") == ONE


@pytest.mark.parametrize("way", ["403", "tokens"])
def test_who_may_not_read_is_not_told_to_log_in_again(one: Path, tmp_path: Path, environ: Environ, way: str) -> None:
    """The login is good, and another one is needed."""
    with Shop(one) as shop, Shop(one) as tokens:
        other = "Basic b3RoZXI6cHc="
        if way == "403":
            asks = asks_for(BASIC)
            shop.odd = lambda asked: None if asked.authorization == other else asks(asked) or Reply(403)
            environ(login(tmp_path, shop.address))
        else:
            gives = gives_tokens
            tokens.odd = lambda asked: (
                gives(asked) if asked.authorization == other else Reply(200, b'{"token": "of one who may not"}')
            )
            shop.odd = bearer(f"{tokens.url}/token")
            environ(login(tmp_path, shop.address))
        line = refusal(Pulling(tmp_path / "a"), f"docker://{shop.address}/a:1")
        assert f"{shop.address}/a: who is logged in may not read this, or there is no such image (status 40" in line
        assert f"; have it allowed, or log in as another user: skopeo login --tls-verify=false {shop.address}" in line
        environ(login(tmp_path, shop.address, user="other", password="pw"))
        assert afresh(tmp_path / "b").pull(f"docker://{shop.address}/a:1") == ONE


def test_insecure(one: Path, tmp_path: Path, environ: Environ) -> None:
    """A host that is not this machine, by a name that a proxy knows."""
    pytest.importorskip("socks", reason="PySocks is not installed")
    with Shop(one) as shop, SocksProxy(shop.address) as proxy:
        environ({"HTTPS_PROXY": f"socks5://{proxy.address}", "HTTP_PROXY": f"socks5://{proxy.address}"})
        line = refusal(Pulling(tmp_path / "a"), "docker://registry.example/a:1")
        assert "it does not speak TLS, the last of several tries; where plain http is meant, write " in line
        assert "registries: {'registry.example': {insecure: true}} in bundle.yaml" in line
        access = Access((("registry.example", Host(insecure=True)),))
        assert Pulling(tmp_path / "b", access).pull("docker://registry.example/a:1") == ONE


def test_another_name_than_the_certificate_has(
    one: Path, certificate: Certificate, tmp_path: Path, environ: Environ
) -> None:
    with Shop(one, certificate) as shop, HttpsProxy(shop.address) as proxy:
        environ({"SSL_CERT_FILE": str(certificate.ca), "HTTPS_PROXY": proxy.url})
        line = refusal(Pulling(tmp_path / "a"), "docker://other.example/a:1")
        assert "; ask by a name that the certificate has, or have one made with this name" in line
        assert Pulling(tmp_path / "b").pull("docker://registry.example/a:1") == ONE


def test_run_again_later(one: Path, tmp_path: Path) -> None:
    with Shop(one) as shop:
        shop.odd = lambda _asked: Reply(503)
        line = refusal(Pulling(tmp_path / "a"), f"docker://{shop.address}/a:1")
        assert line == f"{shop.address}/a: tag '1': status 503, the last of several tries; run again later"
        shop.odd = lambda _asked: None
        assert Pulling(tmp_path / "b").pull(f"docker://{shop.address}/a:1") == ONE
        shop.odd = lambda _asked: Reply(429, headers={"Retry-After": "400"})
        assert refusal(Pulling(tmp_path / "c"), f"docker://{shop.address}/a:1").endswith(
            "status 429 (too many requests); it asks to wait 400 s; run again then"
        )


def test_a_name_that_is_not_known(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = refusal(Pulling(tmp_path / "a"), "docker://no-such-registry.invalid/a:1")
    assert line.endswith(
        "its name is not known, the last of several tries; "
        "see whether no-such-registry.invalid is the right name, or run again later"
    )
    assert capfd.readouterr().err.count("trying again") == 1


def test_a_proxy_that_refuses(one: Path, tmp_path: Path, environ: Environ, capfd: pytest.CaptureFixture[str]) -> None:
    with Shop(one) as proxy:
        proxy.odd = lambda _asked: None
        environ({"HTTPS_PROXY": f"http://{proxy.address}"})
        line = refusal(Pulling(tmp_path / "a"), "docker://registry.example/a:1")
        assert "the proxy for registry.example: " in line
        assert line.endswith("; mend what HTTPS_PROXY names, or name registry.example in NO_PROXY")


def test_pysocks(tmp_path: Path, environ: Environ, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installing it is what test_a_socks_proxy has behind it."""
    environ({"HTTPS_PROXY": "socks5://127.0.0.1:1"})
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)
    line = refusal(Pulling(tmp_path / "a"), "docker://registry.example/a:1")
    assert line == (
        "HTTPS_PROXY names a SOCKS proxy, and PySocks, which speaks with these, is not installed; "
        f"install it: {sys.executable} -m pip install PySocks"
    )
