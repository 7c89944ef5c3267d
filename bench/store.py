"""What the layer store does to one layer (decompress, check both digests, write, index), against tools that do less.

    python bench/store.py LAYOUT [TAG]        default: node

LAYOUT is an image layout. Takes the image's largest layer, as it is and compressed anew. Prints MB of tar per second,
medians of 5, and peak memory. What has no tool here is skipped (Debian's packages isal, zstd, openssl).
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import isal.igzip
import zstandard
from measuring import are_here, child, machine

sys.path.insert(0, str(Path(__file__).parents[1]))

from c2wtasks.layers.store import Store
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import BlobPlace, Layer

ROUNDS = 9
TOOLS = {
    "gzip": "igzip -dc {} | openssl dgst -sha256",
    "zstd": "zstd -dc {} | openssl dgst -sha256",
    "none": "openssl dgst -sha256 {}",
}

PROGRAMS = {"gzip": ("igzip",), "zstd": ("zstd",)}


def largest(layout: Path, tag: str) -> bytes:
    """The tar of the tag's largest layer, which is gzip."""
    index = json.loads((layout / "index.json").read_text())
    name = "org.opencontainers.image.ref.name"
    found = next(one for one in index["manifests"] if one["annotations"].get(name) == tag)
    manifest = json.loads((layout / "blobs" / found["digest"].replace(":", "/")).read_text())
    layer = max(manifest["layers"], key=lambda one: one["size"])
    with isal.igzip.open(layout / "blobs" / layer["digest"].replace(":", "/")) as stream:
        content: bytes = stream.read()
    return content


def shell(command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def ensure(blob: Path, diff_id: Digest, cache: Path) -> Callable[[], object]:
    digest = Digest("sha256", hashlib.sha256(blob.read_bytes()).hexdigest())
    layer = Layer(digest, diff_id, BlobPlace(str(blob), 0, blob.stat().st_size))
    return lambda: Store(str(cache)).ensure([layer])


def in_turn(contenders: dict[str, Callable[[], float]]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, contend in contenders.items():
            times[name].append(contend())
    return {name: median(values) for name, values in times.items()}


def main() -> None:
    layout, tag = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "node"
    print(machine())
    with tempfile.TemporaryDirectory(dir=".") as name:
        work = Path(name).resolve()
        tar = work / "layer.tar"
        tar.write_bytes(content := largest(layout, tag))
        megabytes = len(content) / 1e6
        diff_id = Digest.of(content)
        blobs = {"gzip": work / "layer.tar.gz", "zstd": work / "layer.tar.zst", "none": tar}
        blobs["gzip"].write_bytes(isal.igzip.compress(content))
        blobs["zstd"].write_bytes(zstandard.compress(content))
        del content
        print(f"largest layer of {tag}: {megabytes:.0f} MB")
        for kind, blob in blobs.items():
            if not are_here(kind, "openssl", *PROGRAMS.get(kind, ())):
                continue
            peaks = []

            def ours(blob: Path = blob, peaks: list[float] = peaks) -> float:
                # The memory that the last one had is used again: what a machine gives for the first time is dear.
                shutil.rmtree(work / "cache", ignore_errors=True)
                seconds, peak = child(ensure(blob, diff_id, work / "cache"))
                peaks.append(peak)
                return seconds

            found = in_turn({"ours": ours, "tools": lambda kind=kind, blob=blob: shell(TOOLS[kind].format(blob))})
            speeds = {who: megabytes / seconds for who, seconds in found.items()}
            print(
                f"{kind:5} ours {speeds['ours']:6.0f} MB/s, {TOOLS[kind].format('')} {speeds['tools']:6.0f} MB/s: "
                f"{speeds['ours'] / speeds['tools']:.2f} of it; peak {max(peaks):.0f} MB"
            )

        def parse() -> float:
            began = time.perf_counter()
            with tar.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                count = sum(1 for _ in read_entries(mapped))
            assert count
            return time.perf_counter() - began

        def parse_with_tarfile() -> float:
            began = time.perf_counter()
            with tarfile.open(fileobj=io.FileIO(str(tar)), mode="r:") as archive:
                archive.getmembers()
            return time.perf_counter() - began

        found = in_turn({"ours": parse, "tarfile": parse_with_tarfile, "tar -t": lambda: shell(f"tar -tf {tar}")})
        for who, seconds in found.items():
            print(f"index with {who:8} {seconds:6.3f} s   ours takes {found['ours'] / seconds:.2f} of it")


if __name__ == "__main__":
    main()
