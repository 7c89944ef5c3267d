"""A proxy in front of a registry that does to answers what networks and servers do.

with FaultyProxy(address) as proxy:
    proxy.plan = on_blobs(Cut(1000), Status(500))   # the first answer is cut, the second a 500, then all is well
    ...
    assert [asked.range for asked in proxy.asked if asked.is_blob] == [...]
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.support.registries import Certificate, Server


@dataclass
class Asked:
    """A request, by which connection it came, and how many bytes of a body it got."""

    method: str
    path: str
    authorization: str | None
    range: str | None
    client: tuple[str, int]
    sent: int = 0

    @property
    def is_blob(self) -> bool:
        return "/blobs/" in self.path


@dataclass(frozen=True)
class Cut:
    """The connection ends after so many bytes of the body, with a reset or properly."""

    after: int
    reset: bool = False


@dataclass(frozen=True)
class Status:
    """An answer without the content."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stall:
    """Nothing more comes after so many bytes of the body; before the headers, if that is negative."""

    after: int


@dataclass(frozen=True)
class Corrupt:
    """One bit is another, at this offset of the body."""

    at: int


@dataclass(frozen=True)
class WrongLength:
    """Content-Length is so much more than what comes."""

    more: int


@dataclass(frozen=True)
class Drip:
    """One byte at a time, with a pause of so many seconds: of the headers, or of the body after its first `after`."""

    pause: float
    headers: bool = False
    after: int = 0


@dataclass(frozen=True)
class Garbage:
    """What comes is not HTTP."""


@dataclass(frozen=True)
class NoRanges:
    """The whole blob comes, whatever part is asked for."""


@dataclass(frozen=True)
class WrongRange:
    """Another part comes than was asked for."""


@dataclass(frozen=True)
class Lost:
    """The registry does what it is asked to, and the connection ends without an answer."""


@dataclass(frozen=True)
class Expire:
    """The registry does not get the credentials, and so asks for them."""


Fault = Cut | Status | Stall | Corrupt | WrongLength | Drip | Garbage | NoRanges | WrongRange | Lost | Expire | None
Plan = Callable[[Asked], Fault]


def on_blobs(*faults: Fault) -> Plan:
    """One fault after another for requests of blobs, then none."""
    left = list(faults)
    lock = threading.Lock()

    def plan(asked: Asked) -> Fault:
        with lock:
            return left.pop(0) if asked.is_blob and left else None

    return plan


def to(address: str, path: str = "") -> Status:
    """A redirect to another host."""
    return Status(307, {"Location": f"http://{address}{path}"})


class FaultyProxy(Server):
    """`plan` says what to do to each answer; `asked` are the requests so far; `redirects` answers blobs with a
    redirect to the same path of another host; `texts` are answers in the place of the registry's, by path."""

    def __init__(self, upstream: str, certificate: Certificate | None = None) -> None:
        super().__init__(_Handler, certificate)
        self.upstream = upstream
        self.plan: Plan = lambda _asked: None
        self.redirects = ""
        self.texts: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.over = threading.Event()

    def __exit__(self, *more: object) -> None:
        self.over.set()
        super().__exit__(*more)

    @property
    def blobs(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.is_blob]


class _Handler(BaseHTTPRequestHandler):
    server: FaultyProxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        headers = self.headers
        asked = Asked(
            self.command, self.path, headers.get("Authorization"), headers.get("Range"), self.client_address
        )
        self.server.asked.append(asked)
        fault = self.server.plan(asked)
        if self.server.redirects and asked.is_blob:
            fault = to(self.server.redirects, self.path)
        if self.path in self.server.texts:
            text = self.server.texts[self.path]
            self._answer(200, {"Content-Length": str(len(text))}, text)
            return
        match fault:
            case Status():
                self._answer(fault.status, {"Content-Length": "0", **fault.headers}, b"")
                return
            case Garbage():
                self.wfile.write(b"\x00\x01 this is no answer\r\n\r\n")
                self.close_connection = True
                return
            case Stall() if fault.after < 0:
                self.server.over.wait()
                self.close_connection = True
                return
        status, headers, body = self._upstream(fault)
        if isinstance(fault, Lost):
            self.close_connection = True
            return
        self._pass_on(asked, fault, status, headers, body)

    do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

    def _upstream(self, fault: Fault) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        dropped = {"connection"}  # by its host a registry names the places of uploads
        if isinstance(fault, NoRanges):
            dropped.add("range")
        if isinstance(fault, Expire):
            dropped.add("authorization")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        if isinstance(fault, WrongRange):
            headers["Range"] = "bytes=1-"
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection.request(self.command, self.path, sent or None, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, {k: v for k, v in answer.getheaders() if k.lower() != "transfer-encoding"}, body

    def _pass_on(self, asked: Asked, fault: Fault, status: int, headers: dict[str, str], body: bytes) -> None:
        if self.command == "HEAD":
            self._answer(status, headers, b"")
            return
        headers["Content-Length"] = str(len(body))
        cut = len(body)
        match fault:
            case Corrupt() if fault.at < len(body):
                body = body[: fault.at] + bytes((body[fault.at] ^ 4,)) + body[fault.at + 1 :]
            case WrongLength():
                headers["Content-Length"] = str(max(0, len(body) + fault.more))
                self.close_connection = True
            case Cut() | Stall():
                cut = min(fault.after, len(body))
                self.close_connection = True
            case Drip() if fault.headers:
                self._drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000, fault.pause)
                return
        asked.sent = cut
        self._answer(status, headers, body[:cut] if not isinstance(fault, Drip) else body[: fault.after])
        match fault:
            case Drip():
                self._drip(body[fault.after :], fault.pause)
            case Stall():
                self.server.over.wait()
            case Cut(reset=True):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _drip(self, content: bytes, pause: float) -> None:
        self.close_connection = True
        for at in range(len(content)):
            if self.server.over.wait(pause):
                return
            self.wfile.write(content[at : at + 1])

    def log_message(self, *_: object) -> None:
        pass
