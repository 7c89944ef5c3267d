"""Documents that were changed at random, through the real commands: whatever an index, a manifest, a config, the JSON
of an archive, bundle.yaml, bundle.lock or a docker config file says, there is no traceback and no line without end, and
the good bundle beside is built.

A few hundred are in tests/graph/test_random_documents.py. The long form, by hand:

    python -m tests.soak.documents --mutations 20000 --seed 1
"""

# ruff: noqa: E501 (the lines are data)

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from c2wtasks.errors import MAX_LINE
from c2wtasks.graph import lookups
from tests.graph.catalogs import DODO
from tests.support.forked import doit_forked
from tests.support.images import DOCKER, OCI, Layout, compress, digest_of, pack, tar
from tests.support.registries import Server
from tests.support.running import Result

IMAGES = 20  # in one catalog
COMMANDS = ("list --all", "plan", "why", "verify", "gc --dry-run", "lock", "doctor", "prune --dry-run", "info bundle")
BASE = tar({"etc/": None, "etc/passwd": "root:x:0:0::/:/bin/sh\napp:x:1:1::/:\n", "etc/group": "app:x:1:\n"})
TOP = tar({"srv/": None, "srv/index": "top\n"})
LAYERS = [("tar", BASE, BASE), ("tar+gzip", TOP, compress(TOP, "gzip"))]
TRANSPORTS = ("oci", "oci", "oci-archive", "docker-archive", "docker-folder", "dir")

KINDS = {"images": 20, "bundle_yaml": 3, "lock": 3, "logins": 3}
"""What is changed in a round, and how often."""

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 1e308,
    "", " ", "x", "x" * 5000, "/", "../../x", "a/../b", "\0", "\x1b[31m\n", "\ud800", "\udfff\ud800", "é", "\u2028", "1",
    "-1", "0x10", "sha256:", "sha256:" + "0" * 64, "sha512:" + "0" * 128, "sha256:" + "A" * 64, "md5:" + "0" * 32,
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999-24:00", "2024-02-30T00:00:00Z", "linux/amd64", "amd64",
    f"{OCI}.index.v1+json", f"{OCI}.manifest.v1+json", f"{DOCKER}.distribution.manifest.v1+json",
    f"{OCI}.layer.v1.tar+zstd+encrypted", "text/html", "nobody", "root:wheel", "4294967296", "1:x:2", "A=B=C", "=",
    [], {}, [None], {"": None}, [[]], [{}], {"a": {"a": {"a": {}}}}, ["x"] * 3000, {f"k{n}": n for n in range(3000)},
]  # fmt: skip
PIECES = [
    b"\xff", b"\0", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud83d", b"null", b"1e999",
    b"-0", b"NaN", b"Infinity", b"1" * 5000, b"[" * 600, b"[" * 990, b"[" * 30_000, b'{"a":' * 900, b"//", b"#", b"\n", b"\r",
    b"- ", b"  ", b"\t", b"? ", b"&a ", b"*a", b"<<: ", b"!!python/object ", b"!!binary ", b"|\n", b"...\n", b"---\n", b"%YAML 9\n",
    b"version 1\n", b"image x@linux/amd64\n", b"<html>", b"\xc3\x28", b" " * 3000,
]  # fmt: skip


def changed_value(rng: random.Random, value: Any, here: float = 0.01) -> Any:
    """`value`, plain data of JSON, with one thing in it changed; with a probability of `here`, all of it."""
    if isinstance(value, dict) and value and rng.random() >= here:
        key = rng.choice(list(value))
        rest = {other: item for other, item in value.items() if other != key}
        match rng.randrange(8):
            case 0:
                return rest
            case 1:
                return rest | {rng.choice([key.upper(), key.capitalize(), f"{key} ", "", "é", "\ud800"]): value[key]}
            case 2:
                return value | {
                    rng.choice(["mediaType", "manifests", "layers", "config", "urls", key.upper()]): odd(rng)
                }
            case _:
                return value | {key: changed_value(rng, value[key], 0.2)}
    if isinstance(value, list) and value and rng.random() >= here:
        at = rng.randrange(len(value))
        match rng.randrange(6):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value * rng.choice([2, 3, 200])
            case 2:
                return value[::-1]
            case _:
                return [*value[:at], changed_value(rng, value[at], 0.2), *value[at + 1 :]]
    return odd(rng)


def odd(rng: random.Random) -> Any:
    value = rng.choice(ODD)
    if rng.random() < 0.05:
        for _ in range(rng.choice([3, 200, 900])):
            value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def changed_text(rng: random.Random, content: bytes) -> bytes:
    """`content` with some bytes changed."""
    at = rng.randrange(len(content) + 1)
    end = min(len(content), at + rng.choice([0, 0, 1, 1, 5, 50, 10_000]))
    match rng.randrange(4):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + content[at:end] * 3 + content[end:]
        case _:
            return content[:at] + rng.choice(PIECES) + content[end:]


def changed(rng: random.Random, content: bytes) -> bytes:
    """A JSON document with one to three changes."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        try:
            value = json.loads(content) if rng.random() < 0.75 else None
        except (ValueError, RecursionError):
            value = None
        content = changed_text(rng, content) if value is None else to_json(changed_value(rng, value))
    return content


def to_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


class Image:
    """An image whose documents pass through `change`, by their names, before what names them is written."""

    def __init__(self, change: Callable[[str, bytes], bytes]) -> None:
        self.change = change

    def config(self, architecture: str = "amd64") -> bytes:
        return self.change("config", to_json({
            "created": "2024-01-02T03:04:05Z", "author": "me", "architecture": architecture, "os": "linux", "variant": "",
            "config": {"User": "app", "Env": ["PATH=/bin", "A=1"], "Entrypoint": ["sh"], "Cmd": ["-c", "x"],
                       "WorkingDir": "/srv", "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}},
                       "StopSignal": "SIGTERM", "ArgsEscaped": False},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for _, layer, _ in LAYERS]},
            "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "x", "empty_layer": True}],
        }))  # fmt: skip

    def manifest(self, put: Callable[[bytes, str], dict[str, Any]]) -> bytes:
        return self.change("manifest", to_json({
            "schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": put(self.config(), f"{OCI}.config.v1+json"),
            "layers": [put(blob, f"{OCI}.layer.v1.{kind}") for kind, _, blob in LAYERS], "annotations": {"a": "b"},
        }))  # fmt: skip

    def layout(self, folder: Path) -> None:
        layout = Layout(folder)
        manifest = layout.put(self.manifest(layout.put), f"{OCI}.manifest.v1+json")
        other = {**manifest, "platform": {"os": "linux", "architecture": "arm64"}}
        platform = {"os": "linux", "architecture": "amd64", "os.version": "1", "os.features": []}
        text = to_json({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json",
                        "manifests": [other, {**manifest, "platform": platform}]})  # fmt: skip
        index = layout.put(self.change("index", text), f"{OCI}.index.v1+json")
        listed = {
            "schemaVersion": 2,
            "manifests": [{**index, "annotations": {"org.opencontainers.image.ref.name": "1"}}],
        }
        (folder / "index.json").write_bytes(self.change("index.json", to_json(listed)))
        (folder / "oci-layout").write_bytes(self.change("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'))

    def docker(self, folder: Path) -> None:
        config = self.config()
        name = digest_of(config).partition(":")[2] + ".json"
        (folder / "a").mkdir(parents=True)
        (folder / "a/layer.tar").write_bytes(BASE)
        (folder / "b.tar").write_bytes(TOP)
        (folder / name).write_bytes(config)
        listed = [{"Config": name, "RepoTags": ["web:1"], "Layers": ["a/layer.tar", "b.tar"]}]
        (folder / "manifest.json").write_bytes(self.change("manifest.json", to_json(listed)))

    def folder(self, folder: Path) -> None:
        """As `skopeo copy ... dir:`."""
        folder.mkdir()

        def put(content: bytes, kind: str) -> dict[str, Any]:
            digest = digest_of(content)
            (folder / digest.partition(":")[2]).write_bytes(content)
            return {"mediaType": kind, "digest": digest, "size": len(content)}

        (folder / "manifest.json").write_bytes(self.manifest(put))
        (folder / "version").write_bytes(b"Directory Transport Version: 1.1\n")


def broken_image(rng: random.Random, folder: Path) -> str:
    """Makes an image of which one document is changed; gives its source."""
    transport = rng.choice(TRANSPORTS)
    names = {
        "oci": ["config", "config", "manifest", "index", "index.json", "oci-layout"],
        "dir": ["config", "manifest"],
    }
    name = rng.choice(names.get(transport.removesuffix("-archive"), ["config", "manifest.json"]))
    image = Image(lambda what, content: changed(rng, content) if what == name else content)
    made = folder.with_name(folder.name + ".d")
    if transport == "dir":
        image.folder(folder)
    elif transport == "oci":
        image.layout(folder)
    elif transport == "docker-folder":
        image.docker(folder)
        transport = "docker-archive"
    else:
        (image.layout if transport == "oci-archive" else image.docker)(made)
        pack(made, folder)
        shutil.rmtree(made)
    return f"{transport}:{folder.name}"


class _Asking(BaseHTTPRequestHandler):
    """Wants credentials, and is content with none."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


class Soak:
    """Rounds in folders below `place`; what is wrong is raised as an AssertionError that names seed and folder."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.told: Counter[str] = Counter()
        self._good = place / "good"
        lookups._GRACE = 0.05  # for whoever is forked from this process
        Image(lambda _, content: content).layout(self._good)

    def round(self, seed: int, kind: str = "") -> int:
        """One catalog, of one of KINDS; gives how many documents were changed."""
        rng = random.Random(seed)
        kind = kind or rng.choices(list(KINDS), list(KINDS.values()))[0]
        folder = self.place / f"round-{seed}"
        folder.mkdir()
        shutil.copytree(self._good, folder / "good")
        shutil.copy(DODO, folder)
        try:
            count: int = getattr(self, kind)(rng, folder)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, in {folder}: {error}") from error
        shutil.rmtree(folder)
        return count

    def images(self, rng: random.Random, folder: Path) -> int:
        sources = {f"i{number}": broken_image(rng, folder / f"i{number}") for number in range(IMAGES)}
        write(folder, {"good": "oci:good", **sources}, lock=rng.choice(["remote", "all"]))
        self.check(folder, 0, 1)
        self.check(folder, 0, 1, *rng.choice(COMMANDS).split())
        if rng.random() < 0.3:
            shutil.rmtree(folder / "bundles/good")
            self.check(folder, 0, 1)  # with what is remembered, and a lock
        return IMAGES

    def bundle_yaml(self, rng: random.Random, folder: Path) -> int:
        for _ in range(IMAGES):
            write(
                folder,
                {"good": "oci:good", "x": {"source": "oci:good", "rootfs": ["dir", {"form": "tar", "sparse": True}],
                 "process": {"args": ["ls", "-l"], "env": {"A": "1"}, "cwd": "/", "user": "app"}, "boot": {"debug": True}}},
                registries={"r.example": {"insecure": True, "mirrors": ["m.example/x"]}}, workers=2, cache_max_size="1G",
            )  # fmt: skip
            path = folder / "bundle.yaml"
            path.write_bytes(changed(rng, path.read_bytes()))
            self.check(folder, 0, 1, 3, *rng.choice(["plan", "list", "run -n 1"]).split(), may_refuse=True)
        return IMAGES

    def lock(self, rng: random.Random, folder: Path) -> int:
        write(folder, {"good": "oci:good", "x": "oci:good", "gone": "oci:gone"}, lock="all")
        self.check(folder, 1)
        path = folder / "bundle.lock"
        text = path.read_bytes()
        for _ in range(IMAGES):
            content = text
            for _ in range(rng.choice([1, 1, 3])):
                content = changed_text(rng, content)
            path.write_bytes(content)
            self.check(folder, 0, 1, 3, *rng.choice(["plan", "lock", "run -n 1"]).split(), may_refuse=True)
            path.write_bytes(content)
            self.check(folder, 0, 1, 3, "lock", "--check", may_refuse=True)
        return IMAGES

    def logins(self, rng: random.Random, folder: Path) -> int:
        with Server(_Asking) as server:
            write(folder, {"good": "oci:good", "x": f"docker://{server.address}/a/b:1"})
            for _ in range(IMAGES // 4):
                secret = base64.b64encode(b"user:password").decode()
                auths = {server.address: {"auth": secret, "identitytoken": "x"}, "r.example": {"auth": secret}}
                text = to_json({"auths": auths, "credHelpers": {"q.example": "x"}, "credsStore": "none"})
                (folder / "auth.json").write_bytes(changed(rng, text))
                shutil.rmtree(folder / "bundles", ignore_errors=True)
                env = {"REGISTRY_AUTH_FILE": str(folder / "auth.json"), "HOME": str(folder)}
                self.check(folder, 1, "run", "-n", "1", env=env)
        return IMAGES // 4

    def check(
        self, folder: Path, *expected: int | str, env: dict[str, str] | None = None, may_refuse: bool = False
    ) -> None:
        """Runs `doit` with those of `expected` that are words; the numbers are the exit statuses that may be."""
        words = [one for one in expected if isinstance(one, str)]
        ended = doit_forked(folder, *words, env=env or {})
        said = f"{' '.join(words)}: {ended}"
        could_not_ask = ended.exit == 4 and words[:1] == ["lock"]
        assert ended.exit in expected or could_not_ask, said
        assert "Traceback" not in ended.stdout + ended.stderr, said
        assert "the trace is in" not in ended.stderr, said
        assert not (folder / ".doit.traces").exists(), said
        for line in ended.stderr.splitlines():
            # Of words that a command line and the names of mistakes add there is not much.
            assert len(line) <= MAX_LINE + 200, said
            assert line.isprintable(), said
        self._count(ended)
        if (not words or words[0] == "run") and not (may_refuse and (ended.exit == 3 or not _names_good(folder))):
            assert (folder / "bundles/good/linux-amd64/bundle.json").exists(), said

    def _count(self, ended: Result) -> None:
        for line in ended.stderr.splitlines():
            self.told[re.sub(r"[0-9a-f]{12,}|'[^']*'|[\d.]+|\bi\d+\b", "_", line.partition(": ")[2])[:60]] += 1


def _names_good(folder: Path) -> bool:
    """Whether bundle.yaml, such as it is, still asks for the good one."""
    return bool(re.search(rb'"good": ?"oci:good"', (folder / "bundle.yaml").read_bytes()))


def write(folder: Path, images: dict[str, Any], **more: Any) -> None:
    text = json.dumps({"platforms": ["linux/amd64"], "images": images, **more}, indent=1)
    (folder / "bundle.yaml").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="documents-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    soak = Soak(place)
    done, seed = 0, options.seed * 1_000_000
    while done < options.mutations:
        done += soak.round(seed)
        seed += 1
    shutil.rmtree(place)
    print(f"{done} documents; what was said most:")
    for line, count in soak.told.most_common(40):
        print(f"{count:7} {line}")


if __name__ == "__main__":
    assert threading.active_count() == 1
    main()
