"""What networks and servers do to a pull: it gives the right bytes, or one clear error, and stores nothing wrong."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from c2wtasks.errors import LayerError, SourceError
from c2wtasks.layers.receipt import Receipt
from c2wtasks.sources.model import Layer
from tests.registry.pulling import BIG, Pulling
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
    Plan,
    Stall,
    Status,
    WrongLength,
    WrongRange,
    on_blobs,
)
from tests.support.images import tar
from tests.support.registries import Certificate, Server, Storage, TokenServer, login

TAR = tar({"big": BIG})


class Pull:
    """The big layer, from behind a proxy."""

    def __init__(self, proxy: FaultyProxy, pulling: Pulling) -> None:
        self.proxy = proxy
        self.store = pulling.store
        self.pulling = pulling
        self.layer: Layer = pulling.resolve(f"docker://{proxy.address}/team/big:1").layers[0]
        self.size = self.layer.place.size
        proxy.asked.clear()

    def under(self, *faults: Fault) -> Receipt:
        self.proxy.plan = on_blobs(*faults)
        receipt = self.store.ensure([self.layer])
        assert Path(self.store.tar(self.layer.diff_id)).read_bytes() == TAR
        return receipt

    def refused(self, plan: Plan) -> str:
        self.proxy.plan = plan
        with pytest.raises(LayerError) as caught:
            self.store.ensure([self.layer])
        assert self.pulling.stored() == set()
        assert str(caught.value).startswith(f"layer {self.layer.short}: ")
        return str(caught.value)

    @property
    def ranges(self) -> list[str | None]:
        return [asked.range for asked in self.proxy.blobs]


@pytest.fixture
def pull(registry: str, pulling: Pulling) -> Iterator[Pull]:
    with FaultyProxy(registry) as proxy:
        yield Pull(proxy, pulling)


def always(fault: Fault) -> Plan:
    return lambda asked: fault if asked.is_blob else None


def test_a_cut_transfer_goes_on_where_it_was(pull: Pull, capfd: pytest.CaptureFixture[str]) -> None:
    pull.under(Cut(100_000), Cut(200_000), Cut(1))
    starts = [int(found[1]) for text in pull.ranges[1:] if text and (found := re.fullmatch(r"bytes=(\d+)-", text))]
    assert starts == [100_000, 300_000, 300_001]
    assert sum(asked.sent for asked in pull.proxy.blobs) == pull.size, "no byte is fetched twice"
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all("trying again in" in line and pull.layer.short in line for line in lines)


def test_a_reset_loses_little(pull: Pull) -> None:
    pull.under(Cut(400_000, reset=True), Cut(200_000, reset=True))
    assert len(pull.ranges) == 3


def test_cut_for_ever(pull: Pull) -> None:
    line = pull.refused(always(Cut(0)))
    assert "the last of several tries; run again later" in line
    assert len(pull.ranges) == 6


def test_too_many_requests(pull: Pull, capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    pull.under(Status(429, {"Retry-After": "1"}))
    assert 1 <= time.monotonic() - began < 20
    assert "status 429 (too many requests); trying again in 1.0 s" in capfd.readouterr().err


def test_asked_to_wait_too_long(pull: Pull) -> None:
    assert "it asks to wait 99 s" in pull.refused(always(Status(429, {"Retry-After": "99"})))
    assert len(pull.ranges) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_bursts_of_errors(pull: Pull, status: int) -> None:
    pull.under(*[Status(status)] * 4, Cut(1000))
    assert pull.ranges == [None] * 5 + ["bytes=1000-"]


def test_errors_for_ever(pull: Pull) -> None:
    assert "status 500" in pull.refused(always(Status(500)))
    assert len(pull.ranges) == 6


def test_other_statuses_are_final(pull: Pull) -> None:
    assert "answers with an error (status 451, http://" in pull.refused(always(Status(451)))
    assert "status 404" in pull.refused(always(Status(404)))
    assert len(pull.ranges) == 2


@pytest.mark.parametrize("after", [-1, 0, 300_000])
def test_a_stalled_connection(pull: Pull, after: int) -> None:
    began = time.monotonic()
    pull.under(Stall(after))
    assert time.monotonic() - began < 30
    assert pull.ranges[1] == (f"bytes={after}-" if after > 0 else None)


@pytest.mark.parametrize("at", [0, 5000, 899_000])
def test_a_corrupted_byte(pull: Pull, at: int, capfd: pytest.CaptureFixture[str]) -> None:
    pull.under(Corrupt(at))
    assert pull.ranges == [None, None]
    assert "fetching it once more" in capfd.readouterr().err


def test_corrupted_for_ever(pull: Pull) -> None:
    line = pull.refused(always(Corrupt(5000)))
    assert "is damaged: its digest is sha256:" in line
    assert len(pull.ranges) == 2


@pytest.mark.parametrize("more", [1, 50_000, -1, -50_000, -(10**9)])
def test_wrong_content_length(pull: Pull, more: int) -> None:
    pull.under(WrongLength(more))


@pytest.mark.parametrize("fault", [WrongRange(), NoRanges(), Garbage()])
def test_odd_answers_to_ranges(pull: Pull, fault: Fault) -> None:
    pull.under(Cut(200_000), fault)


def test_slow_loris(pull: Pull) -> None:
    began = time.monotonic()
    pull.under(Drip(0.1, headers=True), Drip(0.1), Drip(0.1, after=100_000))
    assert time.monotonic() - began < 40


def test_slow_loris_for_ever(pull: Pull) -> None:
    began = time.monotonic()
    assert " bytes in 1 s" in pull.refused(always(Drip(0.1)))
    assert time.monotonic() - began < 40


def test_a_slow_reader_is_no_slow_server(pull: Pull) -> None:
    blob = pull.layer.place.open()
    have = b""
    while chunk := blob.read(60_000):
        have += chunk
        time.sleep(0.2)
    blob.close()
    assert len(have) == pull.size
    assert pull.ranges == [None]


def test_no_credentials_for_another_host(
    storage: Storage, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage.serve(htpasswd=True) as own, FaultyProxy(own) as proxy, FaultyProxy(registry) as other:
        for name, value in login(tmp_path, proxy.address, other.address).items():
            monkeypatch.setenv(name, value)
        proxy.redirects = other.address
        pull = Pull(proxy, Pulling(tmp_path / "c"))
        other.plan = on_blobs(Cut(100_000), Status(403))
        pull.under()
        assert {asked.authorization for asked in other.asked} == {None}
        assert len([asked for asked in other.blobs if asked.range]) == 2, "a link that has expired is asked for again"
        assert all(asked.authorization for asked in proxy.blobs)


def test_redirects_end(pull: Pull) -> None:
    pull.proxy.redirects = pull.proxy.address
    assert "redirects more than 5 times" in pull.refused(lambda _asked: None)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("http://elsewhere.example/x", "without encryption, which is refused"),
        ("ftp://elsewhere.example/x", "not of http or https"),
        ("https://user:geheim@elsewhere.example/x", "with credentials in it"),
        ("https://[x", "cannot be read"),
    ],
)
def test_redirects_to_nowhere_good(pull: Pull, target: str, message: str) -> None:
    line = pull.refused(always(Status(307, {"Location": target})))
    assert message in line
    assert "geheim" not in line


def test_a_token_expires_midway(
    storage: Storage, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        TokenServer(certificate, lifetime=4) as tokens,
        storage.serve(tokens=tokens) as address,
        FaultyProxy(address) as proxy,
    ):
        for name, value in login(tmp_path, proxy.address).items():
            monkeypatch.setenv(name, value)
        pull = Pull(proxy, Pulling(tmp_path / "c"))
        before = tokens.given
        time.sleep(5)
        tokens.lifetime = 300
        pull.under(Cut(100_000), Expire())
        assert tokens.given - before == 2, "one for the token that is too old, one for the registry that forgot"
        assert sum(asked.sent for asked in pull.proxy.blobs if asked.sent > 1000) == pull.size


def test_manifests_suffer_too(registry: str, pulling: Pulling) -> None:
    with FaultyProxy(registry) as proxy:
        faults: list[Fault] = [Status(500), Cut(10), Corrupt(5), WrongLength(7), Garbage(), Stall(-1)]
        left = list(faults)

        def plan(asked: Asked) -> Fault:
            return left.pop(0) if left and asked.method == "GET" and "manifests" in asked.path else None

        proxy.plan = plan
        with pytest.raises(SourceError, match="the last of several tries"):
            pulling.resolve(f"docker://{proxy.address}/team/web:1")
        assert not left
        assert pulling.resolve(f"docker://{proxy.address}/team/web:1").layers


def test_a_manifest_without_end(registry: str, pulling: Pulling) -> None:
    class Endless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.command == "GET" else 404)
            self.end_headers()
            while self.command == "GET" and "manifests" in self.path:
                self.wfile.write(b" " * 65536)

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with (
        Server(Endless) as server,
        pytest.raises(SourceError, match="is larger than the 4194304 bytes that are read"),
    ):
        pulling.resolve(f"docker://{server.address}/a")


def test_many_layers_at_once_share_connections(registry: str, pulling: Pulling) -> None:
    with FaultyProxy(registry) as proxy:
        layer = pulling.resolve(f"docker://{proxy.address}/team/big:1").layers[0]
        busy, most, lock = 0, 0, threading.Lock()

        def plan(asked: Asked) -> Fault:
            nonlocal busy, most
            with lock:
                busy += 1
                most = max(most, busy)
            time.sleep(0.05)
            with lock:
                busy -= 1
            return None

        proxy.plan = plan

        def read() -> None:
            blob = layer.place.open()
            while blob.read(1 << 20):
                pass
            blob.close()

        threads = [threading.Thread(target=read) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most <= 6
        assert len(proxy.blobs) == 21
        assert len({asked.client for asked in proxy.asked}) <= 7
