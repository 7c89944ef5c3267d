"""Remote caches behind real servers on loopback, and what is written to them.

with served("nginx", tmp_path) as url: ...     # a row of SERVERS
store = reached(url)                           # the transport of a URL
"""

from __future__ import annotations

import atexit
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

from c2wtasks.oci.access import Access
from c2wtasks.registry.limits import Limits
from c2wtasks.remote.transport import Name, RemoteFailure, Transport, opener
from tests.support.faults import FaultyProxy
from tests.support.registries import Storage, free_address, wait_for

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
_ENDPOINT = "AWS_ENDPOINT_URL"
WEED = f"{sys.prefix}/bin/weed"
FAST = Limits(connect=2, hello=2, answer=3, stall=2, window=2, rate=50_000, attempts=1, few_attempts=1)


def reached(url: str, limits: Limits = FAST) -> Transport:
    """The transport of a remote cache."""
    return opener(url.partition(":")[0])(url, Access(), limits)


@contextmanager
def nginx(folder: Path, *, dav: bool = True) -> Iterator[str]:
    """nginx, which serves a folder, and takes what is put there if it has `dav`. Gives its address."""
    for name in ("www", "temp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with free_address() as address, _nginx_at(address, folder, dav):
        yield address


@contextmanager
def _nginx_at(address: str, folder: Path, dav: bool) -> Iterator[None]:
    methods = "dav_methods PUT DELETE; create_full_put_path on;" if dav else ""
    file = folder / f"nginx-{address.rpartition(':')[2]}.conf"
    file.write_text(
        f"daemon off; pid {folder}/pid; error_log /dev/null; worker_processes 1;\n"
        + ("user root;\n" if os.geteuid() == 0 else "")
        + "events {}\n"
        + "http { access_log off; client_max_body_size 0;\n"
        + "".join(f"{name}_temp_path {folder}/temp;" for name in ("fastcgi", "uwsgi", "scgi", "proxy"))
        + f" client_body_temp_path {folder}/temp;\n"
        + f"server {{ listen {address}; root {folder}/www; location / {{ {methods} }} }} }}\n"
    )
    server = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(file)], stderr=subprocess.DEVNULL)
    try:
        wait_for(address, server)
        yield
    finally:
        server.terminate()
        server.wait()


@contextmanager
def _folder(folder: Path) -> Iterator[str]:
    (folder / "shared").mkdir(parents=True)
    yield f"file://{folder}/shared"


@contextmanager
def _nginx(folder: Path) -> Iterator[str]:
    with nginx(folder) as address:
        yield f"http://{address}/cache"


@contextmanager
def _registry(folder: Path) -> Iterator[str]:
    with Storage(folder / "registry").serve() as address:
        yield f"oci://{address}/team/cache"


@cache
def _seaweed() -> str:
    """SeaweedFS, an S3 server, with two who may ask: `writer`, and `reader`, who may not write. It takes seconds to
    start, so it serves all tests of this process. Gives its address."""
    folder = Path(tempfile.mkdtemp(prefix="seaweed-"))
    everything = ["Admin", "Read", "Write", "List"]
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": f"geheim-{name}"}], "actions": actions}
        for name, actions in (("writer", everything), ("reader", ["Read", "List"]))
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    ports = _ports(4)
    names = ("master", "volume", "filer", "s3")
    own = [f"-{name}.port={port}" for name, port in zip(names, ports, strict=True)]
    small = ["-master.volumeSizeLimitMB=64", "-volume.max=20", "-master.telemetry=false"]
    small += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # they have fixed ports, which another may have
    command = [WEED, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", *own, *small]
    server = subprocess.Popen(
        [*command, f"-s3.config={folder / 's3.json'}"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.wait)
    atexit.register(server.kill)  # first: it takes long to end when it is asked to
    address = f"127.0.0.1:{ports[-1]}"
    wait_for(address, server)
    return address


def _ports(count: int) -> list[int]:
    """Ports that are free, and so is that 10,000 above each, which SeaweedFS takes, too."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        found.append(port)
    return found


def identity(name: str) -> dict[str, str]:
    """The variables of who asks S3."""
    address = _seaweed()
    own = {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": f"geheim-{name}"}
    return {**own, _ENDPOINT: f"http://{address}"}


@contextmanager
def _s3(folder: Path) -> Iterator[str]:
    with mock.patch.dict(os.environ, identity("writer")):
        made = reached("s3://cache", Limits(attempts=1))
        for _ in range(300):  # its parts find each other, and make room, after it answers
            try:
                made._wire.discard(made._ask("PUT", made._bucket, (200, 409), {"Content-Length": "0"}))  # type: ignore[attr-defined]
                made.put(Name("form", "0" * 64, "0" * 64), b"x", ())
                break
            except RemoteFailure:
                time.sleep(0.2)
        else:
            raise AssertionError("the S3 server takes nothing")
        yield f"s3://cache/{random.SystemRandom().randrange(1 << 40)}"


@contextmanager
def behind_faults(url: str) -> Iterator[tuple[str, FaultyProxy]]:
    """A faulty proxy before the server of a URL, and the URL that leads through it."""
    scheme, _, rest = url.partition("://")
    address, _, path = rest.partition("/")
    if scheme == "s3":
        before = FaultyProxy(os.environ[_ENDPOINT].partition("://")[2])
        with before as proxy, mock.patch.dict(os.environ, {_ENDPOINT: f"http://{proxy.address}"}):
            yield url, proxy
    else:
        with FaultyProxy(address) as proxy:
            yield f"{scheme}://{proxy.address}/{path}", proxy


SERVERS = {"folder": _folder, "nginx": _nginx, "registry": _registry}
if Path(WEED).exists():
    SERVERS["s3"] = _s3


def served(kind: str, folder: Path) -> AbstractContextManager[str]:
    """A remote cache of this kind; gives its URL."""
    return SERVERS[kind](folder)
