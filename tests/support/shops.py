"""A registry in memory, for what real ones cannot be made to do.

with Shop(layout.folder) as shop:
    shop.odd = lambda asked: Reply(405) if asked.method == "HEAD" else None   # else the registry itself answers
    pulling.pull(f"docker://{shop.address}/team/web:1")
    assert [asked.method for asked in shop.asked] == [...]
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.support.registries import Certificate, Server


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: str = ""

    @property
    def authorization(self) -> str | None:
        return self.headers.get("Authorization")

    @property
    def is_blob(self) -> bool:
        return "/blobs/" in self.path


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Odd = Callable[[Request], Reply | bytes | None]


class Shop(Server):
    """Serves an image layout under any repository's name. `odd` may answer first: with a reply, or with bytes as they
    are. `asked` are the requests so far."""

    def __init__(self, layout: Path, certificate: Certificate | None = None) -> None:
        super().__init__(_Handler, certificate)
        self.odd: Odd = lambda _asked: None
        self.asked: list[Request] = []
        self.blobs = {f"sha256:{path.name}": path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}
        index = json.loads((layout / "index.json").read_text())
        self.tags = {one["annotations"]["org.opencontainers.image.ref.name"]: one for one in index["manifests"]}

    def reply(self, asked: Request) -> Reply:
        *_, kind, reference = asked.path.split("/")
        if asked.path == "/v2/":
            return Reply(200)
        digest = self.tags[reference]["digest"] if kind == "manifests" and reference in self.tags else reference
        if digest not in self.blobs:
            return Reply(404, b"{}", {"Content-Type": "application/json"})
        content = self.blobs[digest]
        headers = {"Content-Type": "application/octet-stream"}
        if kind == "manifests":
            kind_of = json.loads(content).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
            headers = {"Content-Type": kind_of, "Docker-Content-Digest": digest}
        return Reply(200, content, headers)


class _Handler(BaseHTTPRequestHandler):
    server: Shop
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        asked = Request(self.command, self.path, dict(self.headers), body)
        self.server.asked.append(asked)
        reply = self.server.odd(asked) or self.server.reply(asked)
        if isinstance(reply, bytes):
            self.wfile.write(reply)
            self.close_connection = True
            return
        self.send_response_only(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = _answer

    def log_message(self, *_: object) -> None:
        pass


class PlainShop(Shop):
    """Speaks plain http, and to whoever begins with TLS it does what `at_tls` says: "close", "reset" or "hang"."""

    def __init__(self, layout: Path, at_tls: str) -> None:
        super().__init__(layout)
        self.at_tls = at_tls
        self.over = threading.Event()

    def finish_request(self, request: Any, client_address: Any) -> None:
        if request.recv(1, socket.MSG_PEEK) != b"\x16":
            super().finish_request(request, client_address)
        elif self.at_tls == "reset":
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self.at_tls == "hang":
            self.over.wait()
        else:
            request.recv(65536)  # what is left unread would make it a reset

    def __exit__(self, *more: object) -> None:
        self.over.set()
        super().__exit__(*more)


class BothShop(Shop):
    """Speaks TLS and plain http at one port, as its client does."""

    def __init__(self, layout: Path, certificate: Certificate) -> None:
        super().__init__(layout)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.certificate, certificate.key)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if request.recv(1, socket.MSG_PEEK) == b"\x16":
            request = self.context.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
            request.close()
        else:
            super().finish_request(request, client_address)


class SocksProxy:
    """A SOCKS5 proxy (RFC 1928, 1929) that leads every connection to one address. `names` are the hosts that it was
    asked for; with `login` it wants a user and a password."""

    def __init__(self, address: str, login: tuple[str, str] | None = None) -> None:
        host, _, port = address.rpartition(":")
        self._to = (host, int(port))
        self._login = login
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.names: list[str] = []

    def __enter__(self) -> SocksProxy:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        stream = client.makefile("rb")
        stream.read(stream.read(2)[1])
        if self._login is not None:
            client.sendall(b"\5\2")
            stream.read(1)
            given = tuple(stream.read(stream.read(1)[0]).decode() for _ in range(2))
            client.sendall(b"\1\0" if given == self._login else b"\1\1")
            if given != self._login:
                client.close()
                return
        else:
            client.sendall(b"\5\0")
        assert stream.read(4) == b"\5\1\0\3", "a name, which the proxy looks up"
        self.names.append(stream.read(stream.read(1)[0]).decode())
        stream.read(2)
        with socket.create_connection(self._to) as far:
            client.sendall(b"\5\0\0\1" + bytes(6))
            threading.Thread(target=_pump, args=(client, far), daemon=True).start()
            _pump(far, client)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while content := source.recv(65536):
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
