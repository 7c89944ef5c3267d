from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine import toys
from tests.soak.interrupts import prepared
from tests.support.hooking import hooked
from tests.support.running import environment, executed, run_doit

LIMIT = 20  # seconds, for a busy machine; an idle one takes about half of one
LOOKS = 4

PARALLEL = pytest.mark.parametrize("parallel", [[], ["-n", "2"]], ids=["one by one", "-n 2"])


def interrupted(toy: Path, number: signal.Signals, *args: str) -> tuple[int, str, str, float]:
    """Signals a run of the toy in its slow trees: exit code, stdout, stderr, seconds it took to end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "doit", *args],
        cwd=toy,
        env=environment({"slow": "30"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    calls = toy / "calls"
    deadline = time.monotonic() + 60
    while not calls.exists() or calls.read_text().count("\n") < len(toys.LAYERS):
        assert time.monotonic() < deadline, process.communicate(timeout=5)
        time.sleep(0.02)
    at_rest = 0
    while at_rest < LOOKS:
        assert time.monotonic() < deadline
        at_rest = at_rest + 1 if is_asleep(process.pid) else 0
        time.sleep(0.02)
    sent = time.monotonic()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr, time.monotonic() - sent


def is_asleep(pid: int) -> bool:
    """Whether no thread of a process is at work, or waits for a CPU or the disk: all it had to do before its slow
    tasks is done then, and recorded."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return {(thread / "stat").read_text().rpartition(") ")[2][0] for thread in threads} == {"S"}


@PARALLEL
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["INT", "TERM", "HUP"],
)
def test_ends_at_once_and_keeps_what_is_done(
    toy: Path, number: signal.Signals, code: int, parallel: list[str]
) -> None:
    exit_code, stdout, stderr, seconds = interrupted(toy, number, *parallel)
    assert exit_code == code
    assert stderr == "interrupted: 3 tasks done; the next run goes on from here\n"
    assert "Traceback" not in stdout
    assert seconds < LIMIT
    assert executed(toy) == {name for name in toys.ALL if not name.startswith("layer:")}


@PARALLEL
def test_json_report_is_whole(toy: Path, parallel: list[str]) -> None:
    exit_code, stdout, _stderr, _seconds = interrupted(toy, signal.SIGINT, "-r", "json", *parallel)
    report = {task["name"]: task["result"] for task in json.loads(stdout)["tasks"]}
    assert exit_code == 130
    assert {report[f"layer:{name}"] for name in toys.LAYERS} == {"success"}
    assert "success" not in {result for name, result in report.items() if name.startswith("tree:")}


def test_interrupted_task_runs_again_whatever_it_left(toy: Path) -> None:
    executed(toy)
    (toy / "calls").unlink()
    interrupted(toy, signal.SIGINT, "-a")
    assert [name for name in executed(toy) if name.startswith("tree:")] == ["tree:web@linux/amd64"]


def test_cleanups_of_threads_run(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(
            "def tree(bundle):\n"
            "    open('temporary', 'w').close()\n"
            "    try:\n"
            "        while True:\n"
            "            time.sleep(0.05)\n"
            "    finally:\n"
            "        os.unlink('temporary')\n"
        )
    exit_code, _stdout, _stderr, seconds = interrupted(toy, signal.SIGINT, "-n", "2", "api", "layer")
    assert exit_code == 130
    assert seconds < LIMIT
    assert not (toy / "temporary").exists()


@PARALLEL
def test_a_cleanup_that_fails_then_is_no_failure(toy: Path, parallel: list[str]) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(
            "def tree(bundle):\n"
            "    try:\n"
            "        while True:\n"
            "            time.sleep(0.05)\n"
            "    finally:\n"
            "        raise OSError(39, 'Directory not empty')\n"
        )
    exit_code, stdout, stderr, seconds = interrupted(toy, signal.SIGINT, *parallel)
    assert exit_code == 130
    assert stderr == "interrupted: 3 tasks done; the next run goes on from here\n"
    assert "not empty" not in stdout
    assert seconds < LIMIT


def test_while_the_graph_loads(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write("open('calls', 'w').write('x\\n' * 3)\ntime.sleep(30)\n")
    exit_code, stdout, stderr, seconds = interrupted(toy, signal.SIGINT)
    assert (exit_code, stdout) == (130, "")
    assert stderr == "interrupted: no task done; the next run goes on from here\n"
    assert seconds < LIMIT


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for the owners in the images")
def test_at_random_moments(tmp_path: Path) -> None:
    """The long form is `python -m tests.soak.interrupts`."""
    interrupts = prepared(tmp_path, seed=7)
    for number in range(30):
        interrupts.run(number)
    interrupts.whole()


AS_IT_CLOSES = """
import os
import c2wtasks.engine.executor as _executor
for _kind in (_executor.InProcess, _executor.Workers):
    def _close(self, usual=_kind.close):
        os.kill(os.getpid(), {number})
        usual(self)
    _kind.close = _close
"""


@PARALLEL
def test_when_all_is_done_all_that_tells_of_it_is_written(toy: Path, parallel: list[str]) -> None:
    code = AS_IT_CLOSES.format(number=int(signal.SIGTERM))
    done = run_doit(toy, *parallel, env=hooked(toy / "hook", code))
    assert (done.exit, done.stderr) == (0, "")
    assert (toy / "catalog").exists()
    assert not (toy / ".doit.db.lock").exists()
    assert executed(toy) == set()


PROGRAM = Path(sys.executable).parent / "doit"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["INT", "TERM", "HUP"],
)
def test_while_python_imports(toy: Path, number: signal.Signals, code: int) -> None:
    """The program `doit` is ours: it is interrupted in good order before doit itself is imported."""
    assert "c2wtasks.__main__" in PROGRAM.read_text()
    (toy / "sitecustomize.py").write_text(
        "import builtins, os\nusual = __import__\n"
        "def interrupted(name, *args, **kwargs):\n"
        "    if name == 'doit.doit_cmd':\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "    return usual(name, *args, **kwargs)\n"
        "builtins.__import__ = interrupted\n"
    )
    done = subprocess.run(
        [PROGRAM], cwd=toy, env=environment({"PYTHONPATH": str(toy)}), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "interrupted\n")
    assert not (toy / "calls").exists()


def test_one_that_is_ignored_stays_ignored(toy: Path) -> None:
    command = ["bash", "-c", "trap '' HUP; exec \"$@\"", "bash", sys.executable, "-m", "doit"]
    with subprocess.Popen(
        command,
        cwd=toy,
        env=environment({"slow": "0.2"}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not (toy / "calls").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def test_one_that_python_takes_for_another_error(toy: Path) -> None:
    """What is raised while a class is made comes out as a RuntimeError (until Python 3.12)."""
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(
            "import signal\n"
            "class Field:\n"
            "    def __set_name__(self, owner, name):\n"
            "        signal.raise_signal(signal.SIGTERM)\n"
            "class Made:\n"
            "    field = Field()\n"
        )
    done = run_doit(toy)
    assert (done.exit, done.stdout) == (143, "")
    assert done.stderr == "interrupted: no task done; the next run goes on from here\n"
