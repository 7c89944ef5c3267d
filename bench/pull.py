"""Pulling one large layer, beside what others do. By hand, with docker-registry, skopeo and umoci installed:

    python bench/pull.py [--megabytes 500] [--runs 3]

It takes some ten times the layer's size of disk, and memory for making it. Prints wall times in seconds, and our peak
memory in MB:

    ours      from the registry into the layer store, indexed
    copy      skopeo copy docker://... oci:...
    index     our own reading of that layout into the layer store
    unpack    umoci raw unpack of it
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from measuring import are_here, child

sys.path.insert(0, str(Path(__file__).parents[1]))

from c2wtasks.layers.store import Store
from c2wtasks.oci.access import Access
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.resolve import Resolver
from tests.support.images import Layout, tar
from tests.support.registries import Storage

_FILE = 256 << 10


def content(megabytes: int) -> dict[str, bytes]:
    """Files half of which compresses, so that the blob has about as many MB."""
    rng = random.Random(1)
    files = {}
    for number in range(megabytes * 4):
        half = rng.randbytes(_FILE)
        files[f"d{number % 100}/f{number}"] = half + half[:1024] * (_FILE // 1024)
    return files


def store(source: str, cache: Path) -> None:
    """Reads the image's layers into a store in `cache`."""
    reference = Reference.parse(source)
    resolver = Resolver(Access(), Documents(str(cache / "documents")))
    image = resolver.resolve(reference, reference.path, Platform("linux", "amd64"))
    for layer in image.layers:
        Store(str(cache / "layers")).ensure([layer])


def command(*words: str) -> Callable[[], None]:
    def run() -> None:
        subprocess.run(words, check=True, capture_output=True)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    if not are_here("all", "docker-registry", "skopeo", "umoci"):
        return
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        storage = Storage(folder / "storage/images")

        def push() -> None:  # in a child, whose memory is not ours
            layout = Layout(folder / "made")
            layout.image(tar(content(arguments.megabytes)), tag="1")
            storage.push(layout.folder, "big:1", tag="1")

        child(push)
        with storage.serve() as address:
            measure(folder, f"docker://{address}/big:1", arguments.runs)


def measure(folder: Path, source: str, runs: int) -> None:
    copied = folder / "copied"
    copy = ("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", source, f"oci:{copied}:1")
    steps: dict[str, Callable[[], None]] = {
        "ours": lambda: store(source, folder / "ours"),
        "copy": command(*copy),
        "index": lambda: store(f"oci:{copied}:1", folder / "index"),
        "unpack": command("umoci", "raw", "unpack", "--image", f"{copied}:1", str(folder / "unpack")),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    peak = 0.0
    for _ in range(runs):
        for place in ("ours", "copied", "index", "unpack"):
            shutil.rmtree(folder / place, ignore_errors=True)
        for name, step in steps.items():
            took, memory = child(step)
            times[name].append(took)
            peak = max(peak, memory if name == "ours" else 0)
    middle = {name: statistics.median(found) for name, found in times.items()}
    for name, took in middle.items():
        print(f"{name:8}{took:7.2f} s   {' '.join(f'{one:.2f}' for one in sorted(times[name]))}")
    print(f"ours / (copy + index)   {middle['ours'] / (middle['copy'] + middle['index']):.2f}")
    print(f"ours / (copy + unpack)  {middle['ours'] / (middle['copy'] + middle['unpack']):.2f}")
    print(f"peak memory of ours     {peak:.0f} MB")


if __name__ == "__main__":
    main()
