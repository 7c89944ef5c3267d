"""A registry that is slow or gone keeps nobody waiting but the bundles that need it; and all ends as if it had been
quick."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.graph.catalogs import BASE, write_catalog
from tests.support.held import HeldRegistry
from tests.support.hooking import SHORT_WAITS, hooked
from tests.support.images import Layout
from tests.support.published import OF_RUNS
from tests.support.running import environment, executed, results, run_doit

LIMIT = 60  # seconds, for what takes about one
NO_GRACE = "import c2wtasks.graph.lookups as _graph\n_graph._GRACE = 0.05\n"
SELECTIONS = [(), ("good", "slow"), ("bundle:*",), ("*",), ("good", "bundle:*"), ("catalog",), ("bundle", "catalog")]
AT_ONCE = pytest.mark.parametrize("at_once", ["0", "1", "3"])


class Late:
    """A catalog of `good`, which is here and shares a layer with `slow`, which a registry has; `also` is of another
    registry, that is quick."""

    def __init__(self, folder: Path, slow: HeldRegistry, quick: HeldRegistry) -> None:
        self.folder = folder
        self.slow = slow
        self.env = hooked(folder / "hook", NO_GRACE)
        Layout(folder / "good").image(BASE, {"good": "1"})
        self.images = {
            "good": "oci:good",
            "slow": f"docker://127.0.0.1:{slow.server_port}/team/slow:1",
            "slow-too": f"docker://127.0.0.1:{slow.server_port}/team/too:1",
            "also": f"docker://127.0.0.1:{quick.server_port}/team/also:1",
        }
        write_catalog(folder, self.images)

    def is_built(self, name: str) -> bool:
        return (self.folder / f"bundles/{name}/linux-amd64/bundle.json").exists()

    def start(self, *args: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "doit", *args],
            cwd=self.folder,
            env=environment(env or self.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, *names: str) -> None:
        deadline = time.monotonic() + LIMIT
        while not all(map(self.is_built, names)):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def outcome(self) -> dict[str, bytes]:
        """All that is left for others to see."""
        paths = [self.folder / "bundle.lock", *(self.folder / "bundles").rglob("*")]
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in paths
            if path.is_file() and not OF_RUNS & {*path.parts}
        }


@contextmanager
def registry(folder: Path, text: str, *, held: bool) -> Iterator[HeldRegistry]:
    if not folder.exists():
        Layout(folder).image(BASE, {text: text}, tag="1")
    with HeldRegistry(folder) as server:
        if not held:
            server.released.set()
        yield server


@pytest.fixture
def late(tmp_path: Path) -> Iterator[Late]:
    with registry(tmp_path / "a", "slow", held=True) as slow, registry(tmp_path / "b", "also", held=False) as quick:
        folder = tmp_path / "catalog"
        folder.mkdir()
        yield Late(folder, slow, quick)


@AT_ONCE
def test_others_are_published_while_a_registry_is_asked(late: Late, at_once: str) -> None:
    with late.start("-r", "console", "-n", at_once) as run:
        late.wait_for("good", "also")
        assert not late.is_built("slow")
        late.slow.released.set()
        stdout, stderr = run.communicate(timeout=LIMIT)
    assert run.returncode == 0, stderr
    said, locked = stderr.splitlines()
    assert said.startswith("waiting for ")
    assert said.endswith("slow@linux/amd64, slow-too@linux/amd64")
    assert locked == "bundle.lock: added also@linux/amd64, slow@linux/amd64, slow-too@linux/amd64"
    lines = stdout.splitlines()
    assert len(lines) == len(set(lines)), lines  # every task once
    assert lines.count(".  catalog") == 1
    there = late.outcome()
    asked = len(late.slow.asked)
    assert executed(late.folder) == set()
    assert len(late.slow.asked) == asked
    # And it is what a run makes that need not wait.
    for name in ("bundles", "cache", "bundle.lock", ".doit.db"):
        path = late.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert run_doit(late.folder, "-n", at_once).exit == 0
    assert late.outcome() == there


@pytest.mark.parametrize("words", SELECTIONS, ids=lambda words: " ".join(words) or "all")
def test_what_is_selected_is_done(late: Late, words: tuple[str, ...]) -> None:
    with late.start(*words) as run:
        if words in ((), ("bundle:*",), ("*",)):
            late.wait_for("good")
        late.slow.released.set()
        stderr = run.communicate(timeout=LIMIT)[1]
    assert run.returncode == 0, stderr
    left = results(late.folder, *words)
    assert set(left.values()) == {"up-to-date"}


def test_a_word_that_means_nothing_is_told_without_asking(late: Late) -> None:
    with late.start("nonsense") as run:
        stderr = run.communicate(timeout=LIMIT)[1]
    assert run.returncode == 3
    assert "'nonsense' is no task, bundle or target" in stderr
    assert not late.is_built("good")
    assert late.slow.asked == []


@AT_ONCE
def test_the_json_report_is_one(late: Late, at_once: str) -> None:
    with late.start("-r", "json", "-n", at_once) as run:
        late.wait_for("good")
        late.slow.released.set()
        stdout = run.communicate(timeout=LIMIT)[0]
    report = {task["name"]: task["result"] for task in json.loads(stdout)["tasks"]}
    assert {report[f"bundle:{name}@linux/amd64"] for name in late.images} == {"success"}
    assert report["catalog"] == "success"


@AT_ONCE
def test_one_that_is_gone_fails_its_own(late: Late, at_once: str) -> None:
    env = hooked(late.folder / "hook", NO_GRACE + SHORT_WAITS.replace("answer=5", "answer=0.5"))
    with late.start("-n", at_once, env=env) as run:
        late.wait_for("good", "also")
        stderr = run.communicate(timeout=LIMIT)[1]
    assert run.returncode == 1
    failed = [line for line in stderr.splitlines() if line.startswith("slow")]
    assert [line.partition(":")[0] for line in failed] == ["slow-too@linux/amd64", "slow@linux/amd64"]
    listed = json.loads((late.folder / "bundles/catalog.json").read_text())["bundles"]
    states = {bundle["name"]: bundle["status"] for bundle in listed}
    assert states == {"good": "built", "also": "built", "slow": "failed", "slow-too": "failed"}
    assert "slow" not in (late.folder / "bundle.lock").read_text()


@AT_ONCE
def test_a_bad_copy_here_is_not_the_fault_of_what_comes_late(late: Late, at_once: str) -> None:
    """They share a layer: it has failed by the time that a good copy of it is known."""
    (shared,) = _layers(late.folder / "good") & _layers(late.slow.layout)
    blob = late.folder / "good/blobs" / shared.replace(":", "/")
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with late.start("-n", at_once) as run:
        late.wait_for("also")
        late.slow.released.set()
        stderr = run.communicate(timeout=LIMIT)[1]
    assert run.returncode == 1
    assert [line.partition(":")[0] for line in stderr.splitlines() if "damaged" in line] == ["good@linux/amd64"]
    assert late.is_built("slow")
    assert late.is_built("slow-too")
    assert not late.is_built("good")
    assert set(results(late.folder, "slow", "slow-too").values()) == {"up-to-date"}


def _layers(layout: Path) -> set[str]:
    """The layers of its first image."""
    index = json.loads((layout / "index.json").read_bytes())
    manifest = json.loads((layout / "blobs" / index["manifests"][0]["digest"].replace(":", "/")).read_bytes())
    return {layer["digest"] for layer in manifest["layers"]}


@AT_ONCE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_while_it_waits(late: Late, at_once: str, number: int) -> None:
    with late.start("-r", "console", "-n", at_once) as run:
        late.wait_for("good", "also")
        assert run.stderr is not None
        assert run.stderr.readline().startswith("waiting for ")
        os.killpg(run.pid, number)
        stdout, stderr = run.communicate(timeout=LIMIT)
    assert run.returncode == 128 + number
    assert "interrupted: " in stderr
    assert "Traceback" not in stdout + stderr
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)  # nobody is left
    assert late.is_built("good")
    late.slow.released.set()
    assert run_doit(late.folder).exit == 0
    assert late.is_built("slow")
    assert executed(late.folder) == set()


@AT_ONCE
def test_a_lock_and_an_empty_cache(late: Late, at_once: str) -> None:
    """What is locked, but not here, is fetched without keeping the others waiting, too."""
    late.slow.released.set()
    assert run_doit(late.folder).exit == 0
    there = late.outcome()
    late.slow.released.clear()
    for name in ("bundles", "cache"):
        shutil.rmtree(late.folder / name)
    (late.folder / ".doit.db").unlink()
    with late.start("-r", "console", "-n", at_once) as run:
        late.wait_for("good", "also")
        late.slow.released.set()
        assert run.communicate(timeout=LIMIT)[1].startswith("waiting for ")
    assert run.returncode == 0
    assert late.outcome() == there
    late.slow.asked.clear()
    assert executed(late.folder) == set()
    assert late.slow.asked == []


def test_a_lost_memory(late: Late) -> None:
    """What proves itself current is not made again, whether its image came late or not."""
    late.slow.released.set()
    assert run_doit(late.folder).exit == 0
    late.slow.released.clear()
    for path in (late.folder / ".doit.db", late.folder / "bundle.lock", *(late.folder / "cache/memo").iterdir()):
        path.unlink()
    with late.start("-r", "json") as run:
        deadline = time.monotonic() + LIMIT
        while not late.slow.asked:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        late.slow.released.set()
        report = json.loads(run.communicate(timeout=LIMIT)[0])["tasks"]
    done = {task["name"] for task in report if task["result"] == "success" and ":" in task["name"]}
    assert done == set()


def test_other_commands_wait(late: Late) -> None:
    with late.start("list", "--all", "-q") as run:
        late.slow.released.set()
        stdout = run.communicate(timeout=LIMIT)[0]
    assert {f"bundle:{name}@linux/amd64" for name in late.images} <= set(stdout.split())
    assert "catalog" in stdout.split()


def test_where_no_process_is_to_be_had(late: Late) -> None:
    """Then the look-ups are made by the run itself, before it begins."""
    late.slow.released.set()
    code = "import os\ndef none():\n    raise BlockingIOError(11, 'Resource busy')\nos.fork = none\n"
    assert run_doit(late.folder, "-n", "1", env=hooked(late.folder / "hook", code)).exit == 0
    assert late.is_built("slow")
