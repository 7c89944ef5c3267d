"""A registry that serves an image layout and can be made to wait before it answers."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.support.registries import Server


class HeldRegistry(Server):
    """`NAME:TAG` is the image that `layout` has under TAG, whatever NAME. No request is answered before `released` is
    set; those that came are in `asked`."""

    def __init__(self, layout: Path) -> None:
        self.layout = layout
        self.released = threading.Event()
        self.asked: list[str] = []
        super().__init__(_Held)

    def __exit__(self, *args: object) -> None:
        self.released.set()
        super().__exit__(*args)

    def manifest(self, reference: str) -> dict[str, Any] | None:
        """The descriptor of a tag or digest."""
        listed = json.loads((self.layout / "index.json").read_bytes())["manifests"]
        tag = "org.opencontainers.image.ref.name"
        found = (one for one in listed if reference in (one["digest"], one.get("annotations", {}).get(tag)))
        return next(found, None)


class _Held(BaseHTTPRequestHandler):
    server: HeldRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(self.path)
        server.released.wait()
        what, reference = self.path.split("/")[-2:]
        found = server.manifest(reference) if what == "manifests" else {"mediaType": "application/octet-stream"}
        blob = server.layout / "blobs" / (found or {}).get("digest", reference).replace(":", "/")
        if found is None or not blob.is_file():
            self.send_error(404)
            return
        content = blob.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", found["mediaType"])
        self.send_header("Content-Length", str(len(content)))
        if what == "manifests":
            self.send_header("Docker-Content-Digest", found["digest"])
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass
