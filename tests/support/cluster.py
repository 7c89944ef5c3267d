"""A Dask cluster on this machine, for a catalog of three bundles in two shards, that waits and dies as it is told."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.graph.catalogs import write_catalog
from tests.soak.crashes import processes_in
from tests.support.hooking import hooked
from tests.support.running import Result, environment

SOON = 150  # seconds, for a busy machine
DODO = """
import os, time
shard = os.environ.get("C2WTASKS_SHARD", "").replace("/", "-of-")
if shard:
    with open(f"began-{shard}", "a") as began:
        began.write(f"{os.getpid()}\\n")
    while os.path.exists(f"wait-{shard}"):
        time.sleep(0.02)
from c2wtasks.dodo import *
"""
"""In a shard, it waits as long as a file says so."""
PATIENCE = "import c2wtasks.engine.dask.cluster as _cluster\n_cluster._PATIENCE = {}\n"
PATIENT = PATIENCE.format(60)
"""What the command executes first, on a machine that may be busy."""
IMPATIENT = PATIENCE.format(5)
"""The same where nobody comes."""
GIVES_UP = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "3s"}
"""With these variables, a scheduler does not wait long for a worker that stands still."""
_ENV = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
}


def eventually(what: Callable[[], object], told: object = None) -> None:
    deadline = time.monotonic() + SOON
    while not what():
        assert time.monotonic() < deadline, told() if callable(told) else told
        time.sleep(0.02)


@dataclass
class Cluster:
    """A scheduler, and workers with folders of their own."""

    folder: Path
    catalog: Path
    port: int  # of the scheduler
    env: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "tcp"
    hook: str = PATIENT
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def begin(self, *workers: str) -> None:
        """Begins a scheduler and workers, waits for these, and writes bundle.yaml."""
        self.scheduler()
        for name in workers:
            self.worker(name)
        eventually(lambda: all(map(self.is_registered, workers)))
        self.write()

    def scheduler(self) -> None:
        self._start("scheduler", "dask_scheduler", "--host", f"{self.protocol}://127.0.0.1", "--port", str(self.port))
        eventually(self._answers)

    def worker(self, name: str, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()) -> None:
        env = {"C2WTASKS_SHARDS": str(self.folder / name), **(env or {})}
        options = ("--no-nanny", "--nthreads", "1", "--memory-limit", "0", "--local-directory", str(self.folder))
        self._start(name, "dask_worker", self.address, *options, env=env, before=before)

    def is_registered(self, name: str) -> bool:
        """Whether the scheduler knows the worker."""
        return "Registered to" in (self.folder / f"{name}.log").read_text()

    @property
    def address(self) -> str:
        return f"{self.protocol}://127.0.0.1:{self.port}"

    def _start(
        self, name: str, module: str, *args: str, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
    ) -> None:
        words = [*before, sys.executable, "-m", f"distributed.cli.{module}", *args, "--no-dashboard"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words,
                cwd=self.folder,
                env=environment({**_ENV, **self.env, **(env or {})}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _answers(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self, *names: str) -> None:
        for name in names:
            process = self.processes.pop(name)
            process.kill()
            process.wait()

    def write(self, **more: object) -> None:
        """Writes bundle.yaml, which names the scheduler."""
        images = json.loads((self.catalog / "bundle.yaml").read_text())["images"]
        write_catalog(self.catalog, images, engine={"dask": self.address, "shards": 2}, **more)
        (self.catalog / "dodo.py").write_text(DODO)

    def hold(self, number: int, *, on: bool = True) -> None:
        """Makes a shard wait, or go on."""
        path = self.catalog / f"wait-{number}-of-2"
        path.touch() if on else path.unlink()

    def began(self, number: int) -> list[int]:
        """The runs that have begun with a shard."""
        path = self.catalog / f"began-{number}-of-2"
        return list(map(int, path.read_text().split())) if path.exists() else []

    def spreading(self, *args: str) -> subprocess.Popen[str]:
        hook = hooked(self.folder / "hook", self.hook)
        return subprocess.Popen(
            [sys.executable, "-m", "c2wtasks", "spread", *args],
            cwd=self.catalog,
            env=environment({**self.env, **hook, "PYTHONFAULTHANDLER": "1"}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, spreading: subprocess.Popen[str]) -> Result:
        try:
            stdout, stderr = spreading.communicate(timeout=SOON)
        except subprocess.TimeoutExpired:
            spreading.send_signal(signal.SIGABRT)  # it says where it stands
            raise AssertionError(spreading.communicate()) from None
        assert "Traceback" not in stdout + stderr, stderr
        return Result(spreading.returncode, stdout, stderr)

    def spread(self) -> Result:
        return self.ended(self.spreading())

    def is_quiet(self) -> bool:
        """Whether no run is left in the catalog's folder."""
        return processes_in(self.catalog) == []
