"""Output folders as many nights of runs leave them, generated without building anything: catalog.json, the small
files of bundles, the history."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from c2wtasks.output import history, listing, record
from c2wtasks.output.history import BundleRun, NullRun, Run
from c2wtasks.output.listing import Catalog, Line
from c2wtasks.output.outputs import of_bytes
from c2wtasks.output.record import LayerFacts, Record, RootfsFacts

FIRST_NIGHT = datetime(2026, 10, 30, 2, 13, tzinfo=UTC)
PLATFORMS = ("linux/amd64", "linux/arm64")
_PROJECTS = ("shop", "mail", "billing", "search", "map", "chat", "build", "docs", "media", "login")
_PARTS = ("web", "api", "worker", "cron", "db", "cache", "proxy", "admin", "gateway", "metrics")
_WORDS = (
    "lib",
    "perl",
    "python3",
    "gcc",
    "ssl",
    "curl",
    "zlib",
    "apt",
    "bash",
    "core",
    "data",
    "font",
    "xml",
    "json",
)
OPTIONS: dict[str, Any] = {
    "profile": "v0.8",
    "rootfs": ["dir", {"form": "tar", "compression": "zstd"}],
    "boot": {"debug": False, "debug_init": True, "vmtouch": True, "binfmt": True, "external_bundle": False},
    "process": {"args": None, "env": {}, "cwd": None, "user": None, "terminal": True},
    "same_owner": True,
}
MOUNTS = [
    {"destination": f"/{name}", "type": kind, "source": kind, "options": ["nosuid", "noexec", "nodev"]}
    for name, kind in (
        ("proc", "proc"),
        ("dev", "tmpfs"),
        ("dev/pts", "devpts"),
        ("dev/shm", "tmpfs"),
        ("sys", "sysfs"),
    )
]


class Package(NamedTuple):
    name: str
    version: str
    layer: int


def sha256(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def layer(name: object, size: int) -> LayerFacts:
    """A layer that a text names."""
    return LayerFacts(f"sha256:{sha256(('blob', name))}", f"sha256:{sha256(name)}", size // 3, size)


def write_bundle(
    output: Path,
    name: str,
    platform: str,
    layers: Sequence[LayerFacts],
    packages: Sequence[Package] = (),
    *,
    args: Sequence[str] = ("/bin/sh",),
    env: Sequence[str] = ("PATH=/usr/bin",),
    **fields: Any,
) -> Record:
    """The small files of a bundle, and its record; `fields` are other values of that."""
    folder = output / name / platform.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    process = {"args": list(args), "env": list(env), "cwd": "/srv", "user": {"uid": 1000, "gid": 1000}}
    found = [
        {"type": "deb", "name": one.name, "version": one.version, "architecture": "amd64", "layer": one.layer}
        for one in packages
    ]
    texts = {
        "image.json": msgspec.json.encode({"name": name, "layers": [one.diff_id for one in layers]}),
        "spec.json": msgspec.json.encode({"process": process, "mounts": MOUNTS}),
        "packages.json": msgspec.json.encode({"version": 1, "packages": found}),
    }
    for file, text in texts.items():
        (folder / file).write_bytes(text)
    size = sum(one.tar_size or 0 for one in layers)
    outputs = {file: of_bytes(text) for file, text in texts.items()}
    outputs["rootfs.tar.zst"] = msgspec.structs.replace(
        outputs["image.json"], size=size // 3, sha256=sha256((name, size))
    )
    values: dict[str, Any] = {
        "name": name,
        "platform": platform,
        "source": f"docker://registry.example/{name}:1",
        "manifest_digest": f"sha256:{sha256((name, platform, size))}",
        "config_digest": f"sha256:{outputs['image.json'].sha256}",
        "layers": tuple(layers),
        "options": OPTIONS,
        "image_config_verbatim": True,
        "outputs": outputs,
        "rootfs": RootfsFacts(sha256(size)[:32], size, 1234),
        **fields,
    }
    made = Record(**values)
    (folder / "bundle.json").write_bytes(record.encode(made))
    return made


def line(made: Record, error: str = "") -> Line:
    """What catalog.json says of a bundle."""
    path = f"{made.name}/{made.platform.replace('/', '-')}"
    return Line(made.name, made.platform, path, "failed" if error else "built", error, made)


def write_catalog_json(output: Path, lines: Sequence[Line]) -> None:
    ordered = tuple(sorted(lines, key=lambda one: (one.name, one.platform)))
    (output / "catalog.json").write_bytes(msgspec.json.encode(Catalog(listing.VERSION, ordered)))


def note(output: Path, night: int, bundles: Sequence[BundleRun], current: Sequence[str] = ()) -> None:
    """Notes a run of that night, which found all current where it did nothing."""
    began = history.stamp((FIRST_NIGHT + timedelta(days=night)).timestamp())
    if not bundles:
        history.note_null(str(output), NullRun(began, 0.4, len(current)), 400)
        return
    failed = any(one.state == "failed" for one in bundles)
    run = Run(1, began, 12.5, int(failed), "c2wtasks 0.1.0", "builder", "host7", (), tuple(bundles), tuple(current))
    history.note(str(output), run, 400)


def generate(output: Path, bundles: int, nights: int = 30, seed: int = 1) -> None:
    """A catalog of that many bundles over a few bases, and the nights before: each brings some bundles something
    new, some fail for a while, one never was built."""
    rng = random.Random(seed)
    bases = [_base(rng, number) for number in range(8)]
    lines: list[Line] = []
    for number in range(bundles):
        image = number // len(PLATFORMS)
        name = f"{_PROJECTS[image % 10]}-{_PARTS[image // 10 % 10]}{f'-{image // 100}' if image >= 100 else ''}"
        platform = PLATFORMS[number % len(PLATFORMS)]
        layers, packages = bases[(image * 7 + number % 2) % 8]
        own = [layer(("middle", image // 3), 9_000_000), layer((number, "top"), rng.randrange(10**5, 4 * 10**7))]
        more = [Package(f"{rng.choice(_WORDS)}-{image}-{n}", f"{n}.{rng.randrange(9)}", 4) for n in range(12)]
        made = write_bundle(
            output,
            name,
            platform,
            [*layers, *own],
            [*packages, *more],
            args=("/usr/bin/serve", "--port", str(number)),
        )
        fails = number % 97 == 40
        error = (
            f"layer sha256:{sha256(number)[:12]}: registry.example: 503 Service Unavailable; try again"
            if fails
            else ""
        )
        lines.append(line(made, error))
    lines.append(Line("never", "linux/amd64", "never/linux-amd64", "missing"))
    write_catalog_json(output, lines)
    _nights(output, lines, nights, rng)


def _base(rng: random.Random, number: int) -> tuple[list[LayerFacts], list[Package]]:
    layers = [
        layer(("base", number, n), size) for n, size in enumerate((74_000_000 + number * 3_000_000, 21_000_000, 512))
    ]
    packages = [
        Package(f"{rng.choice(_WORDS)}{rng.choice(_WORDS)}{n}", f"{n % 7}.{rng.randrange(40)}-{n % 3}+deb12u1", n % 2)
        for n in range(200)
    ]
    return layers, packages


def _nights(output: Path, lines: Sequence[Line], nights: int, rng: random.Random) -> None:
    known = {f"{one.name}@{one.platform}": one for one in lines}
    built = [key for key, one in known.items() if one.bundle is not None]
    for night in range(nights):
        chosen = built if night == 0 else rng.sample(built, max(1, len(built) // 12))
        runs = []
        for key in chosen:
            one = known[key]
            size = one.bundle.size if one.bundle else 0
            if one.error and night >= nights - 4:
                continue
            grown = size - (nights - 1 - night) * rng.randrange(0, max(1, size // 150))
            after = sha256((key, night))
            runs.append(BundleRun(key, "built", 3.5, grown, "" if night == 0 else sha256((key, night - 1)), after))
        if night >= nights - 4:
            runs += [BundleRun(key, "failed", 0.5, error=one.error) for key, one in known.items() if one.error]
        busy = {one.bundle for one in runs}
        note(output, night, runs if night % 6 != 3 else [], [key for key in built if key not in busy])
