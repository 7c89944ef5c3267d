"""What the environment, the command and its options say of a run, and that it comes to the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from c2wtasks.commands.gc import Gc
from c2wtasks.commands.lock import Lock
from c2wtasks.commands.verify import Verify
from c2wtasks.engine.run import Run
from c2wtasks.process import runoptions
from c2wtasks.process.runoptions import LOCKED, OFFLINE, RunOptions


@pytest.fixture(autouse=True)
def no_command(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(runoptions, "_of_command", None)
    for variable in (LOCKED, OFFLINE):
        monkeypatch.delenv(variable, raising=False)
    yield


@pytest.mark.parametrize(
    ("environ", "options"),
    [
        ({}, RunOptions()),
        ({LOCKED: "", OFFLINE: "0"}, RunOptions()),
        ({LOCKED: "1"}, RunOptions(locked=True)),
        ({OFFLINE: "no"}, RunOptions(offline=True)),
        ({LOCKED: "1", OFFLINE: "1"}, RunOptions(locked=True, offline=True)),
    ],
)
def test_the_environment_says_it_where_no_command_does(
    environ: dict[str, str], options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert RunOptions.of(environ) == options
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    assert runoptions.current() == options
    runoptions.use(said := replace(options, looks=True, locked=False))
    assert runoptions.current() == said


@pytest.mark.parametrize(
    ("command", "params", "switches", "options"),
    [
        (Run, {}, (), RunOptions(offline=True, locked=True, looks_up="meanwhile")),
        (Run, {}, ("--locked",), RunOptions(offline=True, locked=True, looks_up="meanwhile")),
        (Lock, {"check": False}, (), RunOptions(offline=True, looks_up="here")),
        (Lock, {"check": True}, (), RunOptions(offline=True, looks=True, looks_up="here")),
        (
            Verify,
            {"repair": False},
            (),
            RunOptions(offline=True, locked=True, looks=True, afresh=True, looks_up="briefly"),
        ),
        (Verify, {"repair": True}, (), RunOptions(offline=True, locked=True, afresh=True)),
        (Gc, {"dry_run": True}, (), RunOptions(offline=True, locked=True, looks=True)),
    ],
)
def test_commands_add_their_own(
    command: type[Any],
    params: dict[str, Any],
    switches: tuple[str, ...],
    options: RunOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(LOCKED, "1")
    monkeypatch.setenv(OFFLINE, "1")
    made = command.__new__(command)
    made._switches = switches
    assert made.run_options(params) == options


@pytest.mark.parametrize("switches", [(), ("--locked",), ("--offline",), ("--locked", "--offline")])
def test_switches_of_run(switches: tuple[str, ...]) -> None:
    run = Run.__new__(Run)
    run._switches = switches
    want = RunOptions(locked="--locked" in switches, offline="--offline" in switches, looks_up="meanwhile")
    assert run.run_options({}) == want
