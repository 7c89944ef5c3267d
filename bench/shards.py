"""Shards on the workers of a Dask cluster against one `doit` with as many processes; and the bytes that shards read.

    python bench/shards.py LAYOUT [--tags base,python,nginx,node,gcc] [--small 200] [--rounds 3]

LAYOUT is an image layout with those tags. Scheduler and workers run before the clock does; each worker has a folder
and a cache of its own, and is empty in each round. Needs root, and the extra c2wtasks[dask].
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import distributed
from catalogs import generate
from measuring import Reading, machine, rounds, run, table

from c2wtasks.bundlefile.shards import split
from c2wtasks.output import history
from tests.bundlefile.test_shards import bundles_of, entry, simulated

OURS = [sys.executable, "-m", "doit"]
QUIET = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
"""As docs/how-to/many-machines.md has workers begun."""
WORKERS = 2
IDLE = 2.0  # seconds
MANY = 1000  # bundles of the simulated catalog
COUNTS = (8, 32)


def write(folder: Path, layout: Path, tags: list[str], small: int, port: int) -> None:
    generate(folder / "catalog", small)
    described = json.loads((folder / "catalog" / "bundle.yaml").read_text())
    described["images"] |= {tag: f"oci:{layout}:{tag}" for tag in tags}
    described |= {"lock": "all", "engine": {"dask": f"tcp://127.0.0.1:{port}", "shards": WORKERS}}
    (folder / "catalog" / "bundle.yaml").write_text(json.dumps(described))
    subprocess.run([*OURS, "lock"], cwd=folder / "catalog", stdout=subprocess.DEVNULL, check=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def cluster(folder: Path, port: int) -> Iterator[list[int]]:
    """A scheduler and its workers, whose files are in `folder`: the pids of the workers."""
    commands = [["dask_scheduler", "--host", "tcp://127.0.0.1", "--port", str(port)]]
    more = ["--no-nanny", "--nthreads", "1", "--memory-limit", "0", "--local-directory", str(folder)]
    commands += [["dask_worker", f"tcp://127.0.0.1:{port}", *more]] * WORKERS
    processes = []
    for number, (module, *words) in enumerate(commands):
        env = {**os.environ, **QUIET, "C2WTASKS_SHARDS": str(folder / f"worker-{number}")}
        command = [sys.executable, "-m", f"distributed.cli.{module}", *words, "--no-dashboard"]
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        with distributed.Client(f"tcp://127.0.0.1:{port}", timeout=60, set_as_default=False) as client:
            client.wait_for_workers(WORKERS, timeout=60)
        yield [process.pid for process in processes[1:]]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def used(pids: list[int]) -> tuple[float, float]:
    """Seconds of CPU that these processes have taken themselves; and those that they began, and that have ended."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    itself, begun = (sum(int(one[at]) + int(one[at + 1]) for one in stats) for at in (11, 13))
    return itself / os.sysconf("SC_CLK_TCK"), begun / os.sysconf("SC_CLK_TCK")


def read(folder: Path) -> Iterator[str]:
    """What shards read of a simulated catalog, in words."""
    folder.mkdir()
    bundles = bundles_of(folder, MANY)
    entries = {str(bundle): entry(bundle, chain) for bundle, chain in simulated(bundles, 0).items()}
    once, *more = (sum(share.read for share in split(bundles, entries, count)) for count in (1, *COUNTS))
    yield f"{MANY} simulated bundles, {once / 1e9:.1f} GB of layers:"
    yield from (
        f"  {count} shards read {bytes_ / once:.3f} of one machine"
        for count, bytes_ in zip(COUNTS, more, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layout", type=lambda text: Path(text).resolve())
    parser.add_argument("--tags", default="base,python,nginx,node,gcc")
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    tags = options.tags.split(",")
    print(f"{machine()}; {', '.join(tags)} and {options.small} small bundles; medians of {options.rounds}")
    shard_seconds: list[float] = []
    around: list[tuple[float, float]] = []

    def one(folder: Path) -> Reading:
        write(folder, options.layout, tags, options.small, 1)
        os.sync()
        return run([[*OURS, "-n", str(WORKERS)]], folder / "catalog")

    def spread(folder: Path) -> Reading:
        port = free_port()
        write(folder, options.layout, tags, options.small, port)
        with cluster(folder, port) as workers:
            os.sync()
            begun = used(workers)
            time.sleep(IDLE)
            before = used(workers)
            reading = run([[*OURS, "spread"]], folder / "catalog")
            itself, shards = (after - then for after, then in zip(used(workers), before, strict=True))
        idle = (before[0] - begun[0]) / IDLE * reading.wall
        around.append((itself / shards, idle / shards))
        outputs = folder.glob("worker-*/*/*/bundles")
        shard_seconds.append(max(one.seconds for output in outputs for one in history.runs(str(output))))
        return replace(reading, cpu=reading.cpu + itself + shards)

    with tempfile.TemporaryDirectory(dir=".") as name:
        work = Path(name).resolve()
        medians = rounds({f"doit -n {WORKERS}": one, f"{WORKERS} Dask workers": spread}, work, options.rounds)
        print(table(medians, f"{WORKERS} Dask workers"))
        print("(the workers' memory is not in these)")
        print(f"the longest shard, while the other was at work: {median(shard_seconds):.2f} s")
        itself, idle = (median(column) for column in zip(*around, strict=True))
        print(f"what the workers take themselves: {itself:.3f} of the CPU of the shards; idle as long: {idle:.3f}")
        print(*read(work / "simulated"), sep="\n")


if __name__ == "__main__":
    main()
