"""A remote cache that is gone is found out by one connection, before anything is loaded that speaks with it."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from c2wtasks.oci.access import Access
from c2wtasks.remote.knocking import nobody_at

GONE = """
import sys
from c2wtasks.bundlefile.remote import RemoteCache
from c2wtasks.oci.access import Access
from c2wtasks.remote.session import Remote, Session
session = Session(Remote(RemoteCache(sys.argv[1], ("ci.pub",)), Access(), "main", ("main.all",)))
print(*(event.why for event in session.journal.since()[0]), sep="\\n")
print(*({"urllib3", "cryptography", "ssl"} & sys.modules.keys()))
"""
PLACES = ("http://127.0.0.1:{}/x", "https://127.0.0.1:{}/x", "oci://127.0.0.1:{}/team/x", "s3://bucket/x")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def knocked(url: str, port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    return nobody_at(url.format(port), Access(), 1)


@pytest.mark.parametrize("url", PLACES)
def test_somebody_and_nobody(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert knocked(url, port, monkeypatch) == ""
    assert knocked(url, port, monkeypatch) == "cannot be reached: Connection refused"


def test_who_does_not_let_us_in_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        assert nobody_at(f"http://127.0.0.1:{port}/x", Access(), 0.2) == "no connection within 0.2 s"
        for one in waiting:
            one.close()


@pytest.mark.parametrize(
    "url",
    [
        "file:///mnt/x",
        "oci://localhost/team/x",
        "s3://bucket/x",
        "http://[::1/x",
        "http://a:99999/x",
        "http://a:b@h.invalid/x",
    ],
)
def test_where_it_cannot_be_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    assert nobody_at(url, Access(), 1) == ""


def test_a_proxy_is_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nobody_at("http://no-such-host.invalid/x", Access(), 1) != ""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert nobody_at("http://no-such-host.invalid/x", Access(), 1) == ""


def test_nothing_is_loaded_for_it() -> None:
    for url in ("http://127.0.0.1:1/x", "oci://127.0.0.1:1/team/x"):
        done = subprocess.run([sys.executable, "-c", GONE, url], capture_output=True, text=True, check=True)
        assert done.stdout == "cannot be reached: Connection refused\n\n"
