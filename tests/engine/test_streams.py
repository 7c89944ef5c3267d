"""Output that fails: the work is done all the same, and the exit status is the work's."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.engine import toys
from tests.graph.catalogs import small_catalog
from tests.graph.settling import STANDS, WORDS, catalog_in, found, settle
from tests.support.disks import NEEDS_ROOT
from tests.support.mounts import memory
from tests.support.running import environment, executed, run_doit

FULL = "stdout: cannot be written: No space left on device\n"
HOW = ("closed", "full", "broken pipe")


DOIT = (sys.executable, "-m", "doit")
OURS = (sys.executable, "-m", "c2wtasks")


def run(
    folder: Path,
    streams: dict[int, str],
    *args: str,
    program: Sequence[str] = DOIT,
    env: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """`doit ARGS` with some of its streams (by descriptor) failing; what came out of the others."""
    broken = os.pipe()
    os.close(broken[0])
    to = {"closed": "&-", "full": "/dev/full", "broken pipe": f"&{broken[1]}"}
    redirections = " ".join(f"{number}{'<' if number == 0 else '>'}{to[how]}" for number, how in streams.items())
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {redirections}', "bash", *program, *args],
        cwd=folder,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        pass_fds=broken[1:],
        check=False,
    )
    os.close(broken[1])
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("bad", [False, True], ids=["all is good", "one image is not"])
@pytest.mark.parametrize(
    "streams",
    [
        *({1: how} for how in HOW),
        *({2: how} for how in HOW),
        *({1: how, 2: how} for how in HOW),
        {0: "closed"},
        {0: "closed", 1: "closed", 2: "closed"},
    ],
    ids=str,
)
def test_a_run_does_its_work(toy: Path, streams: dict[int, str], bad: bool) -> None:
    if bad:
        (toy / "blobs/arm").write_text("bad")
    exit_code, _stdout, stderr = run(toy, streams)
    assert exit_code == int(bad)
    if streams == {1: "full"}:
        assert stderr.endswith(FULL)
    assert executed(toy) == set()
    done = {name for name in toys.ALL if not bad or "arm" not in name}
    assert set((toy / "calls").read_text().split()) >= {n for n in done if n.startswith("layer:")}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("reporter", ["json", "zero", "executed-only", "error-only"])
def test_reporters(toy: Path, reporter: str, how: str) -> None:
    assert run(toy, {1: how}, "-r", reporter)[0] == 0
    assert executed(toy) == set()


COMMANDS = (
    ("plan",),
    ("plan", "--json"),
    ("why",),
    ("why", "--json"),
    ("verify",),
    ("verify", "--json"),
    ("gc", "--dry-run"),
    ("gc", "--json"),
    ("prune",),
    ("doctor",),
    ("list", "--all"),
    ("info", "web"),
    ("help",),
    ("help", "run"),
    ("help", "task"),
    ("clean", "--dry-run"),
    ("tabcompletion",),
)
STALE = ("why", "info", "verify")  # exit status 1: something is not as it should be


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_other_commands_end_quietly(catalog: Path, command: tuple[str, ...]) -> None:
    usual = run_doit(catalog, *command)
    assert usual.stdout != ""
    assert usual.exit == (1 if command[0] in STALE else 0)
    for how in ("closed", "broken pipe"):
        assert run(catalog, {1: how}, *command) == (usual.exit, "", usual.stderr)
        assert run(catalog, {1: how, 2: how}, *command)[0] == usual.exit
    assert run(catalog, {1: "full"}, *command) == (1, "", usual.stderr + FULL)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_what_a_seal_answers(sealed: Path, words: list[str], how: str) -> None:
    """The same as the ordinary way."""
    assert found(sealed, runs=False, words=[words]) == STANDS
    lost = how == "full"
    asks = words[:1] in (["why"], ["plan"], ["list"])  # a run's work is done
    env = dict(os.environ)  # that of the run that has sealed it
    assert run(sealed, {1: how}, *words, program=OURS, env=env) == (int(lost and asks), "", FULL if lost else "")


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_what_no_command_answers(tmp_path: Path, option: str) -> None:
    for how, want in (("closed", 0), ("broken pipe", 0), ("full", 1)):
        told = FULL if how == "full" else ""
        assert run(tmp_path, {1: how}, option, program=OURS) == (want, "", told)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    small_catalog(folder)
    assert run_doit(folder).exit == 0
    (folder / "bundles/web/linux-amd64/spec.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    catalog_in(folder)
    settle(folder)
    return folder


def test_a_wrong_command_line(toy: Path) -> None:
    for streams in ({2: "closed"}, {2: "full"}, {1: "closed", 2: "broken pipe"}):
        assert run(toy, streams, "no-such-task")[0] == 3
    assert not (toy / "calls").exists()


@NEEDS_ROOT
def test_a_file_on_a_full_disk(toy: Path, tmp_path: Path) -> None:
    with memory(tmp_path / "disk", "64k") as disk:
        (disk / "fill").write_bytes(bytes(60 << 10))
        output = disk / "output"
        result = run_doit(toy, "-o", str(output), "-r", "json")
        assert (result.exit, result.stdout) == (0, "")
        assert result.stderr in ("", f"{output}: cannot be written: No space left on device\n")
    result = run_doit(toy, "-a", "-o", "/dev/full")
    assert (result.exit, result.stdout) == (0, "")
    assert result.stderr == "/dev/full: cannot be written: No space left on device\n"
    assert executed(toy) == set()


def test_a_file_that_cannot_be_made(toy: Path) -> None:
    result = run_doit(toy, "-o", "nowhere/output")
    assert result.exit == 3
    assert "nowhere/output: cannot be written: No such file or directory" in result.stderr


def test_a_pipe_that_does_not_block(toy: Path) -> None:
    """Some programs leave the pipe that they share with us so: what does not fit waits, and none is lost."""
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(
            "def task_many():\n    for n in range(9000):\n        yield {'name': f'{n:050}', 'actions': [list]}\n"
        )
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, fcntl.fcntl(writing, fcntl.F_GETFL) | os.O_NONBLOCK)
    with subprocess.Popen(
        [sys.executable, "-m", "doit", "list", "--all", "-q"], cwd=toy, env=environment(), stdout=writing
    ) as process:
        os.close(writing)
        with open(reading, encoding="utf-8") as stream:
            assert process.poll() is None
            text = stream.read()
        assert process.wait() == 0
    assert len([line for line in text.splitlines() if line.startswith("many:")]) == 9000


def test_what_the_encoding_cannot_show(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write("def task_odd():\n    return {'basename': 'ö', 'actions': [list]}\n")
    result = run_doit(toy, "list", env={"PYTHONIOENCODING": "ascii:strict"})
    assert (result.exit, result.stderr) == (0, "")
    assert "\\xf6" in result.stdout


def test_a_closed_stream_is_no_file_of_ours(toy: Path) -> None:
    """Where descriptor 2 is free, the next file that is opened would have it, and children would print there."""
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write("def task_child():\n    return {'actions': ['echo child >&2'], 'verbosity': 2}\n")
        dodo.write("FILE = open('precious', 'w')\n")
    assert run(toy, {1: "closed", 2: "closed"}, "child")[0] == 0
    assert (toy / "precious").read_bytes() == b""
