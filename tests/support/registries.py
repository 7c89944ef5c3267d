"""Real registries on loopback: Debian's docker-registry, in front of one storage that skopeo fills.

with Storage(tmp_path / "storage") as storage:
    storage.push(layout.folder, "team/web:1")
    with storage.serve() as address: ...                       # anonymous
    with storage.serve(htpasswd=True) as address: ...          # USER and PASSWORD
    with storage.serve(certificate=made) as address: ...       # TLS
    with TokenServer(certificate) as tokens, storage.serve(tokens=tokens) as address: ...
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

USER = "reader"
PASSWORD = "k7-geheim-Passwort"
IDENTITY = "k8-geheim-Identitaet"
_HTPASSWD = f"{USER}:$2y$05$XXm478AgrFHZJTHD8NFZz.FGevxN78r9Y8pMphu6eLxIarN94FaW2\n"  # of PASSWORD


@dataclass(frozen=True)
class Certificate:
    """A server's certificate for 127.0.0.1 and registry.example, its key, and the CA that vouches for it."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        folder.mkdir(parents=True)
        made = cls(folder / "ca.pem", folder / "server.pem", folder / "server.key")
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.example\n")
        new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj"]
        ca_key = folder / "ca.key"
        _run(*new, "/CN=Tests' CA", "-x509", "-days", "2", "-keyout", ca_key, "-out", made.ca)
        _run(*new, "/CN=registry", "-keyout", made.key, "-out", folder / "request")
        sign = ["openssl", "x509", "-req", "-days", "2", "-CA", made.ca, "-CAkey", ca_key, "-CAcreateserial"]
        _run(*sign, "-in", folder / "request", "-extfile", folder / "names", "-out", made.certificate)
        return made


class Storage:
    """A folder with the images of all registries that serve it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def push(self, layout: Path, name: str, *, tag: str = "") -> None:
        """Copies an image of a layout, with all its platforms and unchanged, to `name`."""
        with self.serve() as address:
            self.push_to(address, layout, name, tag=tag)

    def push_to(self, address: str, layout: Path, name: str, *, tag: str = "") -> None:
        """Like `push`, where this is served already."""
        source = f"oci:{layout}:{tag}" if tag else f"oci:{layout}"
        options = ["--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false"]
        _run("skopeo", *options, source, f"docker://{address}/{name}")

    def delete_tag(self, name: str) -> None:
        repository, _, tag = name.rpartition(":")
        shutil.rmtree(self.folder / f"docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}")

    @contextmanager
    def serve(
        self,
        *,
        htpasswd: bool = False,
        certificate: Certificate | None = None,
        tokens: TokenServer | None = None,
        deletes: bool = False,
    ) -> Iterator[str]:
        """Runs a registry; gives its address."""
        with free_address() as address, self._served(address, htpasswd, certificate, tokens, deletes):
            yield address

    @contextmanager
    def _served(
        self,
        address: str,
        htpasswd: bool,
        certificate: Certificate | None,
        tokens: TokenServer | None,
        deletes: bool,
    ) -> Iterator[None]:
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder)}, "delete": {"enabled": deletes}},
            "http": {"addr": address},
        }
        if htpasswd:
            users = self.folder / "htpasswd"
            users.write_text(_HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(users)}}
        if tokens is not None:
            config["auth"] = {
                "token": {
                    "realm": f"{tokens.url}/token",
                    "service": "tests",
                    "issuer": "tests",
                    "rootcertbundle": str(tokens.certificate.ca),
                }
            }
        if certificate is not None:
            config["http"]["tls"] = {"certificate": str(certificate.certificate), "key": str(certificate.key)}
        file = self.folder.parent / f"registry-{address.rpartition(':')[2]}.yml"
        file.write_text(json.dumps(config))
        server = subprocess.Popen(
            ["docker-registry", "serve", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(address, server)
            yield
        finally:
            server.kill()
            server.wait()


@contextmanager
def free_address() -> Iterator[str]:
    """An address that nobody else gets while the block runs, though nobody listens there yet: who asks the system for
    a port gets another, and a server may bind to this one by its number."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{kept.getsockname()[1]}"


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    """Waits until the server that this process is answers there: a minute at most."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, f"{server.args} did not start"
        try:
            socket.create_connection((host, int(port))).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"{server.args} does not answer")


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stderr}"


class Server(ThreadingHTTPServer):
    """An HTTP server in a thread of its own, as a context."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, handler: type[BaseHTTPRequestHandler], certificate: Certificate | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.address = f"127.0.0.1:{self.server_port}"
        self.url = f"{'https' if certificate else 'http'}://{self.address}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients of these tests go away in the middle of things

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class TokenServer(Server):
    """Gives tokens that docker-registry takes, for USER and PASSWORD or IDENTITY (or, if `anonymous`, to all), signed
    with the key of `certificate`.

    A token is good for `lifetime` seconds, though at most 60 are promised. `given` counts them, `asked` holds how.
    """

    def __init__(self, certificate: Certificate, *, anonymous: bool = False, lifetime: float = 300) -> None:
        super().__init__(_Tokens)
        self.certificate = certificate
        self.anonymous = anonymous
        self.lifetime = lifetime
        self.given = 0
        self.asked: list[str] = []

    def token(self, scope: str) -> str:
        kind, name, actions = scope.split(":") if scope else ("", "", "")
        now = time.time()
        text = self.certificate.certificate.read_text()
        chain = "".join(line for line in text.splitlines() if "CERTIFICATE" not in line)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
        self.given += 1
        claims = {
            "iss": "tests",
            "aud": "tests",
            "sub": USER,
            "iat": int(now),
            "nbf": int(now) - 60,
            # docker-registry grants a minute more
            "exp": int(now + self.lifetime) - 60,
            "jti": f"{self.given}",
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}] if scope else [],
        }
        parts = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        command = ["openssl", "dgst", "-sha256", "-sign", str(self.certificate.key)]
        signature = subprocess.run(command, input=parts.encode(), capture_output=True, check=True).stdout
        return f"{parts}.{_base64url(signature)}"


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class _Tokens(BaseHTTPRequestHandler):
    server: TokenServer

    def do_GET(self) -> None:
        want = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        have = self.headers.get("Authorization")
        self.server.asked.append("GET with password" if have else "GET")
        self._answer(have == want or (have is None and self.server.anonymous), parse_qs(urlsplit(self.path).query))

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.asked.append("POST " + form["grant_type"][0])
        self._answer(form.get("refresh_token") == [IDENTITY], form)

    def _answer(self, good: bool, fields: dict[str, list[str]]) -> None:
        name = "token" if self.command == "GET" else "access_token"
        body = json.dumps({name: self.server.token(fields.get("scope", [""])[0]), "expires_in": 60}) if good else "{}"
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


class HttpsProxy(Server):
    """A proxy that leads every connection to one address, whatever host it is for. `asked` are the hosts, with the
    credentials that came along."""

    def __init__(self, address: str) -> None:
        super().__init__(_Tunnel)
        self.to = address
        self.asked: list[tuple[str, str | None]] = []


class _Tunnel(BaseHTTPRequestHandler):
    server: HttpsProxy

    def do_CONNECT(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        host, _, port = self.server.to.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            threading.Thread(target=_pump, args=(self.connection, far), daemon=True).start()
            _pump(far, self.connection)

    def log_message(self, *_: object) -> None:
        pass


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while content := source.recv(65536):
            target.sendall(content)
    except OSError:
        pass


def login(folder: Path, *addresses: str, user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    """An environment with credentials for these registries, in a file of `folder`."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return auth_file(folder, {address: {"auth": auth} for address in addresses})


def auth_file(folder: Path, auths: dict[str, Any]) -> dict[str, str]:
    name = hashlib.sha256(json.dumps(auths).encode()).hexdigest()[:8]
    file = folder / f"auth-{name}.json"
    file.write_text(json.dumps({"auths": auths}))
    return {"REGISTRY_AUTH_FILE": os.fspath(file)}
