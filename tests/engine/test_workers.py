"""Heavy steps in processes of their own: what happens when one dies, and when the run does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.graph.catalogs import small_catalog
from tests.support.hooking import LARGE_LAYERS, WORKERS_AT_ONCE, hooked
from tests.support.running import environment, executed, results, run_doit

LIMIT = 90  # seconds, for what takes about one

# The reading of every layer says which process does it; that of the layer in SLOW takes long, the first time.
SLOW_LAYER = (
    LARGE_LAYERS
    + """
import os, time
import c2wtasks.layers.unpacking as _unpacking
_copy_checked = _unpacking.copy_checked
def _slow(layer, *more):
    with open(os.environ["PIDS"] + "/" + layer.key, "w") as stream:
        stream.write(str(os.getpid()))
    if layer.key == os.environ.get("SLOW"):
        time.sleep(600)
    return _copy_checked(layer, *more)
_unpacking.copy_checked = _slow
"""
)


class Catalog:
    """The small catalog, not built yet; the keys of its layers; the environment that hands all to workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        small_catalog(folder)
        (folder / "pids").mkdir()
        self.env = hooked(folder / "hook", WORKERS_AT_ONCE + SLOW_LAYER, PIDS=str(folder / "pids"))
        plan = run_doit(folder, "list", "--all", "-q").stdout.split()
        self.layers = [task.removeprefix("layer:") for task in plan if task.startswith("layer:")]

    def pid_at(self, key: str) -> int:
        """The process that reads the layer, once it does."""
        path = self.folder / "pids" / key
        deadline = time.monotonic() + LIMIT
        while not path.exists() or not path.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return int(path.read_text())

    def start(self, key: str) -> subprocess.Popen[str]:
        """A run with two workers, in which the reading of one layer takes long."""
        return subprocess.Popen(
            [sys.executable, "-m", "doit", "-n", "2"],
            cwd=self.folder,
            env=environment(self.env | {"SLOW": key}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except FileNotFoundError:
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + LIMIT
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_all_in_workers_is_the_same(catalog: Catalog) -> None:
    ran = executed(catalog.folder, "-n", "2", env=catalog.env)
    readers = {catalog.pid_at(key) for key in catalog.layers}
    assert 1 <= len(readers) <= 2
    assert os.getpid() not in readers
    assert executed(catalog.folder) == set()
    assert {f"layer:{key}" for key in catalog.layers} < ran


@pytest.mark.parametrize("args", [["-n", "1"], ["-n", "0"]], ids=" ".join)
def test_one_at_a_time_is_all_in_one_process(catalog: Catalog, args: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "doit", *args],
        cwd=catalog.folder,
        env=environment(catalog.env),
        stdout=subprocess.DEVNULL,
    )
    assert process.wait(LIMIT) == 0
    assert {catalog.pid_at(key) for key in catalog.layers} == {process.pid}


def test_a_killed_worker_fails_its_task_only(catalog: Catalog) -> None:
    key = catalog.layers[0]
    with catalog.start(key) as run:
        os.kill(catalog.pid_at(key), signal.SIGKILL)
        stdout, stderr = run.communicate(timeout=LIMIT)
    assert run.returncode == 1
    reason = (
        f"layer sha256:{key[:12]}: its worker was killed (signal 9), perhaps by the kernel for want of memory; "
        "run again"
    )
    assert {line.partition(": ")[2] for line in stderr.splitlines()} == {reason}
    assert "Traceback" not in stdout
    after = results(catalog.folder)
    built = {task for task, result in after.items() if result == "up-to-date" and task.startswith("bundle:")}
    failed = {line.partition(": ")[0] for line in stderr.splitlines()}
    assert built == {task for task in after if task.startswith("bundle:")} - {f"bundle:{name}" for name in failed}
    assert built
    assert after[f"layer:{key}"] == "success"
    assert executed(catalog.folder) == set()
    assert list((catalog.folder / "cache/layers/unfinished").iterdir()) == []


def test_workers_end_with_the_run(catalog: Catalog) -> None:
    key = catalog.layers[0]
    with catalog.start(key) as run:
        worker = catalog.pid_at(key)
        children = [int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
        assert worker in children
        run.kill()
        for pid in children:  # each keeps the run's lock as long as it is there
            wait_until_gone(pid)
    assert run_doit(catalog.folder).stderr == ""


def test_an_interrupt_ends_workers_without_their_traces(catalog: Catalog) -> None:
    key = catalog.layers[0]
    with catalog.start(key) as run:
        worker = catalog.pid_at(key)
        blocked = int(Path(f"/proc/{worker}/status").read_text().partition("SigBlk:")[2].split()[0], 16)
        assert all(blocked >> number - 1 & 1 for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does it
        stdout, stderr = run.communicate(timeout=LIMIT)
    assert run.returncode == 130
    assert stderr.startswith("interrupted: ")
    assert stderr.count("\n") == 1
    assert "Traceback" not in stdout
    assert gone(worker)
    assert run_doit(catalog.folder).exit == 0
    assert list((catalog.folder / "cache/layers/unfinished").iterdir()) == []


def test_errors_pass_whole(catalog: Catalog) -> None:
    for blob in catalog.folder.glob("*/blobs/sha256/*"):
        if blob.name == catalog.layers[0]:
            content = bytearray(blob.read_bytes())
            content[-1] ^= 1
            blob.write_bytes(content)
    alone = run_doit(catalog.folder, "-n", "0")
    assert alone.exit == 1
    assert "is damaged" in alone.stderr
    assert run_doit(catalog.folder, "-n", "2", env=catalog.env).stderr == alone.stderr


BUG = """
def heavy():
    raise AssertionError("this cannot be")
def task_heavy():
    return {"actions": [heavy], "meta": {"blob_bytes": 1}}
def out_of_memory():
    raise MemoryError
def task_memory():
    return {"actions": [out_of_memory], "meta": {"blob_bytes": 1}}
"""


def test_bugs_and_want_of_memory(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(BUG)
    env = hooked(toy / "hook", WORKERS_AT_ONCE)
    result = run_doit(toy, "-n", "2", "heavy", env=env)
    assert result.exit == 1
    (trace,) = (toy / ".doit.traces").iterdir()
    assert 'raise AssertionError("this cannot be")' in trace.read_text()
    result = run_doit(toy, "-n", "2", "-r", "json", "memory", env=env)
    (report,) = json.loads(result.stdout)["tasks"]
    assert report["error"] == "out of memory\n"


CANNOT_PASS = """
import threading
from c2wtasks.errors import UserError
class Unreadable(UserError):
    def __reduce__(self):
        return int, ("no number",)
def result():
    return {"lock": threading.Lock()}
def error():
    raise UserError("what was wrong", hint=threading.Lock())
def unreadable():
    raise Unreadable("what was wrong")
def task_cannot():
    for action in (result, error, unreadable):
        yield {"name": action.__name__, "actions": [action], "meta": {"blob_bytes": 1}}
"""


def test_what_cannot_pass_is_a_line_of_its_task(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(CANNOT_PASS)
    result = run_doit(toy, "-n", "2", "-r", "json", "cannot", env=hooked(toy / "hook", WORKERS_AT_ONCE))
    errors = {task["name"]: task["error"] for task in json.loads(result.stdout)["tasks"]}
    assert "cannot pickle '_thread.lock' object" in errors["cannot:result"]
    assert errors["cannot:error"].startswith("what was wrong; <unlocked _thread.lock")
    assert "invalid literal for int() with base 10: 'no number'" in errors["cannot:unreadable"]
    assert {text.count("\n") for text in errors.values()} == {1}
    assert result.exit == 1


LOADED = "import atexit, sys\natexit.register(lambda: open('loaded', 'w').write('\\n'.join(sys.modules)))\n"


def test_small_work_and_none_start_nothing(toy: Path, tmp_path: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write("DOIT_CONFIG['num_process'] = 4\n")
    env = hooked(tmp_path / "hook", LOADED)
    for _run in range(2):
        assert run_doit(toy, env=env).exit == 0
        loaded = (toy / "loaded").read_text().split()
        assert "c2wtasks.engine.executor" in loaded
        assert "c2wtasks.engine.worker" not in loaded


def test_the_number_is_that_of_the_cores_or_of_bundle_yaml(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    with (tmp_path / "dodo.py").open("a") as dodo:
        dodo.write("print(DOIT_CONFIG['num_process'])\n")
    assert run_doit(tmp_path, "list").stdout.splitlines()[0] == str(len(os.sched_getaffinity(0)))
    bundle_yaml = json.loads((tmp_path / "bundle.yaml").read_text())
    (tmp_path / "bundle.yaml").write_text(json.dumps(bundle_yaml | {"workers": 7}))
    assert run_doit(tmp_path, "list").stdout.splitlines()[0] == "7"
