"""A host that is gone is waited for once, whichever process asks it, and not again for each layer."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from c2wtasks.oci.access import Access
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.imagename import Repository
from c2wtasks.registry import client as clients
from c2wtasks.registry import silence
from c2wtasks.registry.errors import RegistryError
from c2wtasks.sources.remote import RemotePlace
from tests.registry.pulling import FAST

CONTENT = b"a layer"


class Host:
    """Takes connections, and says nothing until it `answers`."""

    def __init__(self) -> None:
        self.answers = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._held: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self.answers:
                if connection.recv(1) == b"G":  # and no hello of TLS
                    connection.recv(1 << 16)
                    length = f"Content-Length: {len(CONTENT)}".encode()
                    connection.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\nConnection: close\r\n\r\n" + CONTENT)
                connection.close()
            else:
                self._held.append(connection)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._held:
            connection.close()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr("c2wtasks.registry.limits.DEFAULT", replace(FAST, stall=0.2, hello=0.1, silence=0.9))
    made = Host()
    silence.answered(made.address)
    yield made
    made.close()


def read(host: Host) -> bytes:
    place = RemotePlace(Repository(host.address, "web"), Digest.of(CONTENT), len(CONTENT), Access())
    blob = place.open()
    try:
        return blob.read(100)
    finally:
        blob.close()


def in_a_worker(function: Callable[[], object]) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def refused(host: Host) -> None:
    with pytest.raises(RegistryError, match="the last of several tries"):
        read(host)


def test_what_one_worker_has_waited_for(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    in_a_worker(lambda: refused(host))
    first = capfd.readouterr().err.count("trying again")
    assert 1 <= first < FAST.attempts - 1
    for _ in range(3):
        in_a_worker(lambda: refused(host))
        assert capfd.readouterr().err.count("trying again") == FAST.few_attempts - 1
    host.answers = True
    in_a_worker(lambda: read(host) == CONTENT or os._exit(1))
    assert silence.lasts(host.address) == 0
    clients._client.cache_clear()
    assert read(host) == CONTENT


def test_a_hiccup_is_waited_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several that ask at once do not use up each other's tries."""
    monkeypatch.setattr("c2wtasks.registry.limits.DEFAULT", replace(FAST, stall=0.2, hello=0.1, silence=60))
    for _ in range(4):
        silence.failed(host.address, time.monotonic())
    threading.Timer(0.5, lambda: setattr(host, "answers", True)).start()
    assert read(host) == CONTENT
