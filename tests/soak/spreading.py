"""A Dask cluster in which schedulers, workers, runs and the command itself are killed, stopped and begun again at
random: in the end the catalog is what one machine makes, each lost bundle was named, and no process is left.

    python -m tests.soak.spreading --rounds 100 --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import distributed

from tests.commands.test_merge import contents, in_roots
from tests.graph.catalogs import small_catalog
from tests.support.cluster import GIVES_UP, IMPATIENT, Cluster, eventually
from tests.support.registries import free_address
from tests.support.running import run_doit

WORKERS = ("w1", "w2", "w3")
LOST = re.compile(r"^(\S+)@linux/amd64: shard \S+ was lost: ", re.MULTILINE)


class Faults:
    def __init__(self, folder: Path, port: int, seed: int) -> None:
        self.rng = random.Random(seed)
        (folder / "cluster").mkdir()
        (folder / "catalog").mkdir()
        small_catalog(folder / "catalog")
        self.cluster = Cluster(folder / "cluster", folder / "catalog", port, env=GIVES_UP, hook=IMPATIENT)
        self.done: Counter[str] = Counter()
        self.cluster.begin(*WORKERS)

    def round(self, number: int) -> None:
        """Changes all bundles; lets some things happen while they are built; then builds them in peace."""
        cluster, rng = self.cluster, self.rng
        text = json.loads((cluster.catalog / "bundle.yaml").read_text())
        for image in text["images"].values():
            image["process"] = {"args": [f"round-{number}"]}
        (cluster.catalog / "bundle.yaml").write_text(json.dumps(text))
        held = [shard for shard in (1, 2) if rng.random() < 0.7]
        for shard in held:
            cluster.hold(shard)
        spreading = cluster.spreading()
        time.sleep(rng.uniform(0, 3))
        faults = [self.worker, self.worker, self.stand_still, self.scheduler, self.run]
        for _ in range(rng.choice([1, 1, 2, 3])):
            fault: Callable[[], None] = rng.choice(faults)
            fault()
            self.done[fault.__name__] += 1
            time.sleep(rng.uniform(0, 1))
        if rng.random() < 0.3:
            spreading.send_signal(rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL]))
            self.done["command"] += 1
        for shard in held:
            cluster.hold(shard, on=False)
        self.wake()
        run = cluster.ended(spreading)
        whole = run.exit == 0
        lost = LOST.findall(run.stdout)
        assert whole or lost or run.exit != 1 or " failed" in run.stdout or len(run.stderr.splitlines()) >= 1, run
        self.done["whole" if whole else f"exit {run.exit}"] += 1
        self.mend()
        again = cluster.spread()
        assert again.exit == 0, again
        one = cluster.folder.parent / "one"
        if not one.exists():
            one.mkdir()
            small_catalog(one)
        (one / "bundle.yaml").write_text(json.dumps({**text, "engine": {}}))
        assert run_doit(one).exit == 0
        assert contents(cluster.catalog) == contents(one)
        assert in_roots(cluster.catalog) == in_roots(one)
        last = cluster.spread()
        assert last.stdout.splitlines()[-1] == "0 merged, 3 current", last
        assert "built" not in last.stdout, last
        eventually(cluster.is_quiet, "a run is left")

    def mend(self) -> None:
        """Begins all workers again, and the scheduler where it is gone."""
        cluster = self.cluster
        for process in cluster.processes.values():
            process.send_signal(signal.SIGCONT)
        cluster.kill(*(name for name in WORKERS if name in cluster.processes))
        if "scheduler" not in cluster.processes:
            cluster.scheduler()
        for name in WORKERS:
            cluster.worker(name)
        with distributed.Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(len(WORKERS), timeout=60)

    def wake(self) -> None:
        """Lets go on the runs that stand still: only whoever began them could tell."""
        for pid in {pid for shard in (1, 2) for pid in self.cluster.began(shard)}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def worker(self) -> None:
        name = self.rng.choice(WORKERS)
        if name in self.cluster.processes:
            self.cluster.kill(name)
        if self.rng.random() < 0.5:
            self.cluster.worker(name)

    def stand_still(self) -> None:
        name = self.rng.choice(WORKERS)
        if name in self.cluster.processes:
            self.cluster.processes[name].send_signal(signal.SIGSTOP)

    def scheduler(self) -> None:
        if "scheduler" in self.cluster.processes:
            self.cluster.kill("scheduler")
        if self.rng.random() < 0.8:
            self.cluster.scheduler()
            for name in WORKERS:
                if name in self.cluster.processes:
                    self.cluster.kill(name)
                self.cluster.worker(name)

    def run(self) -> None:
        """Kills the run of a shard."""
        begun = [pid for shard in (1, 2) for pid in self.cluster.began(shard)]
        if begun:
            with suppress(ProcessLookupError):
                os.kill(begun[-1], self.rng.choice([signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, free_address() as address:
        faults = Faults(Path(folder), int(address.rpartition(":")[2]), args.seed)
        try:
            for number in range(args.rounds):
                faults.round(number)
                print(number, flush=True)
        finally:
            for process in faults.cluster.processes.values():
                process.send_signal(signal.SIGCONT)
            faults.cluster.kill(*faults.cluster.processes)
        print(dict(faults.done))


if __name__ == "__main__":
    main()
