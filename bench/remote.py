"""A cold machine with a remote cache that is warm, beside one without; what a dead and a silent server cost. By hand,
with docker-registry, skopeo and tar2sqfs installed:

    python bench/remote.py LAYOUT [--tags python nginx]

Images and cache are in a registry on this machine, so fetching costs little; elsewhere fewer bytes count for more.
Prints wall and CPU seconds, and the bytes of blobs that came:

    cold         squashfs of each image, from the registry
    first        the same, and written to the remote cache
    warm         the same, taken from it
    specs        spec.json of each image alone, with the remote cache, and without
    null         nothing to do, with a remote cache and without
    dead         `specs`, with a remote cache that refuses connections, and without: medians of CPU, one by one
    silent       `specs`, with one that takes connections and says nothing
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import are_here, machine

sys.path.insert(0, str(Path(__file__).parents[1]))

from c2wtasks.oci import signingkey
from tests.support.faults import FaultyProxy
from tests.support.registries import Storage


class Bench:
    def __init__(self, folder: Path, tags: list[str]) -> None:
        self.folder, self.tags = folder, tags
        key = signingkey.new()
        (folder / "ci.key").write_bytes(signingkey.encrypted(key, b""))
        (folder / "ci.pub").write_bytes(signingkey.public_text(key.public_key()))

    def machine(self, name: str, images: str, cache: str) -> Path:
        """A new machine, with bundle.yaml, the lock and the key's public half."""
        folder = self.folder / name
        folder.mkdir()
        options = {"rootfs": ["squashfs"], "process": {"user": "mail"}}
        file: dict[str, object] = {
            "platforms": ["linux/amd64"],
            "images": {tag: {"source": f"docker://{images}/bench/{tag}:1", **options} for tag in self.tags},
        }
        if cache:
            file["remote_cache"] = {"url": cache, "trust": ["ci.pub"], "write": True}
        (folder / "bundle.yaml").write_text(json.dumps(file))
        shutil.copy(self.folder / "ci.pub", folder)
        return folder

    def run(self, label: str, folder: Path, *words: str, writes: bool = False) -> float:
        return self.measured(label, folder, *words, writes=writes)[0]

    def measured(self, label: str, folder: Path, *words: str, writes: bool = False) -> tuple[float, float]:
        """The seconds, wall and CPU, of a run."""
        env = {**os.environ, "C2WTASKS_KEY_PASSWORD": ""}
        if writes:
            env["C2WTASKS_SIGNING_KEY"] = str(self.folder / "ci.key")
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "c2wtasks", *words]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        said = "".join(f"\n    {line}" for line in done.stderr.splitlines() if "remote cache" in line)
        print(f"{label:<28} {wall:7.2f} s wall {cpu:7.2f} s CPU{said}", flush=True)
        return wall, cpu

    def dead(self, images: str, count: int) -> None:
        """Runs beside a cache that refuses connections, and without one, in turn."""
        seconds: dict[str, list[float]] = {"": [], "oci://127.0.0.1:1/cache": []}
        for number in range(count):
            for cache, found in seconds.items():
                label = f"{'dead' if cache else 'none'} {number}"
                found.append(self.measured(label, self.machine(label, images, cache), "spec:*")[1])
        none, dead = (statistics.median(found) for found in seconds.values())
        print(f"a dead server: {dead / none:.3f} of the CPU without one")


def came(*proxies: FaultyProxy) -> str:
    """The bytes of blobs that came through each since the last time."""
    counts = [sum(asked.sent for asked in proxy.asked if asked.is_blob) for proxy in proxies]
    for proxy in proxies:
        proxy.asked.clear()
    return " and ".join(f"{count:,}" for count in counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout")
    parser.add_argument("--tags", nargs="+", default=["base", "python", "nginx", "node", "gcc"])
    given = parser.parse_args()
    if not are_here("bench/remote.py", "docker-registry", "skopeo", "tar2sqfs"):
        return
    print(machine())
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        storage = Storage(folder / "storage")
        for tag in given.tags:
            storage.push(Path(given.layout), f"bench/{tag}:1", tag=tag)
        bench = Bench(folder, given.tags)
        with storage.serve() as address, FaultyProxy(address) as images, FaultyProxy(address) as cache:
            direct, counted = f"oci://{address}/bench/cache", f"oci://{cache.address}/bench/cache"
            cold_machine = bench.machine("cold", address, "")
            cold = bench.run("cold", cold_machine)
            first = bench.run("first", bench.machine("first", address, direct), writes=True)
            warm_machine = bench.machine("warm", address, direct)
            warm = bench.run("warm", warm_machine)
            print(f"warm / cold: {warm / cold:.2f}; first / cold: {first / cold:.2f}")
            bench.run("specs, without", bench.machine("plain", address, ""), "spec:*")
            bench.run("specs, with", bench.machine("specs", address, direct), "spec:*")
            for label, url, words in (
                ("all, without", "", ()),
                ("all, with", counted, ()),
                ("specs, with", counted, ("spec:*",)),
            ):
                bench.run(f"counted: {label}", bench.machine(label, images.address, url), *words)
                print(f"    bytes from the registry and the cache: {came(images, cache)}")
            for number in range(3):
                bench.run(f"null {number}, without", cold_machine)
                bench.run(f"null {number}, with", warm_machine)
            bench.dead(address, 7)
            with socket.create_server(("127.0.0.1", 0)) as silent:
                url = f"oci://127.0.0.1:{silent.getsockname()[1]}/cache"
                bench.run("silent", bench.machine("silent", address, url), "spec:*")


if __name__ == "__main__":
    main()
