"""What our own commands have in common."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doit.cmd_base import get_loader

from c2wtasks.commands import words
from c2wtasks.commands.program import Program
from tests.engine import toys
from tests.graph.catalogs import small_catalog
from tests.support.running import environment, run_doit

COMMANDS = pytest.mark.parametrize("command", ["verify", "gc", "prune"])


@COMMANDS
def test_a_foreign_dodo(tmp_path: Path, command: str) -> None:
    (tmp_path / "dodo.py").write_text("def task_good():\n    return {'actions': ['echo good']}\n")
    done = run_doit(tmp_path, command)
    assert (done.exit, done.stdout) == (3, "")
    assert done.stderr.startswith("ERROR: this dodo.py is not one of ours")


@COMMANDS
def test_a_dodo_on_our_engine_with_another_graph(tmp_path: Path, command: str) -> None:
    done = run_doit(toys.make(tmp_path / "toy"), command)
    assert done.exit == 3
    assert done.stderr.startswith("ERROR: this dodo.py is not one of ours")


@COMMANDS
def test_it_is_listed_and_explained(tmp_path: Path, command: str) -> None:
    assert re.search(rf"^  \S+ {command} +\w", run_doit(tmp_path, "help").stdout, re.MULTILINE)
    shown = run_doit(tmp_path, "help", command)
    assert shown.exit == 0
    assert "--json" in shown.stdout
    assert "Exit status 0" in " ".join(shown.stdout.split())


@COMMANDS
def test_before_the_first_run(tmp_path: Path, command: str) -> None:
    small_catalog(tmp_path)
    done = run_doit(tmp_path, command)
    assert "Traceback" not in done.stderr
    assert done.exit == (1 if command == "verify" else 0)
    if command == "verify":
        assert "bundles/web/linux-amd64: folder: want there, have missing\n" in done.stdout
        assert run_doit(tmp_path, "verify", "--repair").exit == 0
        assert run_doit(tmp_path, "verify").exit == 0


@COMMANDS
def test_a_bad_bundle_yaml(tmp_path: Path, command: str) -> None:
    small_catalog(tmp_path)
    (tmp_path / "bundle.yaml").write_text("images: [")
    done = run_doit(tmp_path, command)
    assert (done.exit, done.stdout) == (3, "")


def test_an_interrupt_ends_verify_at_once(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    (tar, *_) = sorted((tmp_path / "cache/layers/sha256").glob("*.tar"))
    with tar.open("r+b") as stream:
        stream.truncate(60 << 30)  # takes 20 s to read; of more it is said at once that it is a hole
    process = subprocess.Popen(
        [sys.executable, "-m", "doit", "verify"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not is_reading(process.pid, tar):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "interrupted\n")


def is_reading(pid: int, path: Path) -> bool:
    return any(os.path.realpath(open_file) == str(path) for open_file in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.parametrize("name", sorted([*words.commands(), "clean", "forget", "help", "info", "list", "run"]))
def test_every_option_is_in_the_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "bundle.yaml").write_text("images: {}\n")
    monkeypatch.chdir(tmp_path)
    program = Program()
    commands = program.get_cmds()
    loader = get_loader({}, program.task_loader, commands)
    command = commands.get_plugin(name)(task_loader=loader, config={}, bin_name="doit", cmds=commands, opt_vals={})
    long = [f"--{option.strip('-=')}" for option in (*command.cmdparser.get_long(), *command.switches)]
    short = [f"-{option}" for option in command.cmdparser.get_short() if option != ":"]
    shown = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", command.help()))
    assert [option for option in (*long, *short) if option not in shown] == []
