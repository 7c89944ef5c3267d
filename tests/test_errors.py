"""Errors that pass between processes, and those that nobody expected."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import c2wtasks
from c2wtasks import errors
from c2wtasks.bundlefile.position import Position
from c2wtasks.bundlefile.problems import Problem
from c2wtasks.errors import UserError, one_line
from c2wtasks.oci.digest import Digest
from c2wtasks.process.unexpected import TRACES, as_user_error

# What the constructors of errors take, by the names of their parameters.
GIVEN: dict[str, Any] = {
    "message": "what \udcff is wrong",
    "hint": "do \x1b this",
    "instead": "linux/arm64",
    "place": Position("bundle.yaml", 1, 2),
    "wrong": "not taken",
    "problems": [Problem(Position("a.yaml", 3, 1), "odd", "mend it"), Problem(Position("a.yaml", 1, 1), "odd")],
    "reason": "no data",
    "wait": 3.5,
    "number": 15,
    "diff_id": Digest.parse(f"sha256:{'0' * 64}"),
    "error": ValueError("odd"),
}


@pytest.mark.parametrize(
    ("first", "typed", "program"),
    [
        ("/venv/bin/doit", "/venv/bin/python", "doit"),
        ("doit", "python", "doit"),
        ("/venv/bin/c2wtasks", "/venv/bin/python", "c2wtasks"),
        ("/venv/lib/c2wtasks/__main__.py", "python3", "python3 -m c2wtasks"),
        ("/venv/lib/c2wtasks/__main__.py", "/venv/bin/python", "python -m c2wtasks"),
        ("/venv/lib/doit/__main__.py", "python", "doit"),
        ("-c", "python", "doit"),
        ("", "python", "doit"),
    ],
)
def test_hints_name_the_program_that_was_typed(
    first: str, typed: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [first, "list"])
    monkeypatch.setattr(sys, "orig_argv", [typed, "-m", "c2wtasks"])
    assert errors.program() == program


def error_classes() -> list[type[BaseException]]:
    found = []
    for module in pkgutil.walk_packages(c2wtasks.__path__, "c2wtasks."):
        members = vars(importlib.import_module(module.name)).values()
        found += [
            one
            for one in members
            if inspect.isclass(one) and issubclass(one, BaseException) and one.__module__ == module.name
            if not issubclass(one, OSError)  # of which a process makes UserErrors before they pass
        ]
    return sorted(found, key=lambda one: one.__qualname__)


def instance(kind: type[BaseException]) -> BaseException:
    """One with all that it can be given."""
    if "__init__" not in vars(kind) and not issubclass(kind, UserError):
        return kind("odd")
    parameters = inspect.signature(kind).parameters.values()
    named = {p.name: GIVEN.get(p.name, 7) for p in parameters if p.kind is p.KEYWORD_ONLY}
    args = [GIVEN.get(p.name, 7) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return kind(*args, **named)


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__qualname__)
def test_every_error_of_ours_passes_to_another_process(kind: type[BaseException]) -> None:
    error = instance(kind)
    passed = pickle.loads(pickle.dumps(error))
    assert type(passed) is kind
    assert (str(passed), passed.args, vars(passed)) == (str(error), error.args, vars(error))


def test_there_are_errors_with_constructors_of_their_own() -> None:
    assert {"Unfit", "BundleFileError", "_Refused", "Broken"} <= {kind.__name__ for kind in error_classes()}


def deep(level: int = 0) -> int:
    return deep(level + 1) + 1


def inside_ours() -> None:
    Digest.of(b"", "no such hash")


@pytest.mark.parametrize(
    ("call", "start", "is_ours"),
    [
        (deep, "unexpected RecursionError: maximum recursion depth exceeded", False),
        (inside_ours, "unexpected ValueError: unsupported hash type no such hash (oci/digest.py:", True),
        (lambda: {}[b"\xff"], "unexpected KeyError: b'\\xff'", False),
        (
            lambda: os.stat("/no/such/file"),
            "unexpected FileNotFoundError: [Errno 2] No such file or directory",
            False,
        ),
    ],
)
def test_a_line_and_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object], start: str, is_ours: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = set()
    for _ in range(2):
        try:
            call()
        except Exception as error:
            lines.add(str(as_user_error(error)))
    (line,) = lines
    (trace,) = (tmp_path / TRACES).iterdir()  # one, however often it comes
    assert line.startswith(start)
    assert line.endswith(f"the trace is in {TRACES}/{trace.name}")
    assert ("please report it" in line) == is_ours
    assert "Traceback (most recent call last)" in trace.read_text()


def test_what_is_told_already_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = UserError("wrong", hint="mend it")
    assert as_user_error(error) is error
    assert str(as_user_error(MemoryError())) == "out of memory"
    assert str(as_user_error(OSError(28, "No space left on device", b"out/\xff"))) == (
        "out/\\udcff: No space left on device"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [0, 1, 299, 300, 301, 10**6])
def test_lines_have_a_limit(length: int) -> None:
    assert len(one_line("x" * length, 300)) == min(length, 300 - (length > 300))
