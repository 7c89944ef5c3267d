"""Commands that a signal strikes, or that are killed, at lines of their code drawn at random: each ends as it should,
tells of what it has published, and the next one makes what an undisturbed one would.

    python -m tests.soak.lines --rounds 300 --seed 1

Signals at random moments (`interrupts`) seldom come where little time is spent: between a rename and its note, say.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import c2wtasks
from tests.commands.test_merge import contents, in_roots
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support import starting
from tests.support.running import run_doit

OURS = str(Path(c2wtasks.__file__).parent)
EARLY = ("early.py", "__main__.py")  # nothing is caught yet
SOON = 60  # seconds
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


class Ended(NamedTuple):
    status: int
    said: str
    at: str
    lines: int


def struck(folder: Path, words: list[str], line: int, number: int) -> Ended:
    """`doit WORDS`, whose main thread gets the signal at the given line of our code, counted from its first one."""
    reader, writer = os.pipe()
    with tempfile.TemporaryFile("w+") as out:
        child = os.fork()
        if child == 0:
            status = 70
            try:
                os.chdir(folder)
                for stream in (1, 2):
                    os.dup2(out.fileno(), stream)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                sys.argv, sys.path[0], sys.dont_write_bytecode = ["doit", *words], str(folder), True
                signal.alarm(SOON)
                atexit._clear()  # what this process has to remove when it ends is not the child's
                status = _traced(line, number, writer)
                sys.stderr.flush()
            finally:
                os._exit(status)
        os.close(writer)
        with os.fdopen(reader) as told:
            at, _, lines = told.read().rpartition("\n")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        return Ended(status, out.read(), at, int(lines or 0))


def _traced(line: int, number: int, writer: int) -> int:
    count, this = 0, os.getpid()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        name = frame.f_code.co_filename
        if not name.startswith(OURS) or name.endswith(EARLY) or os.getpid() != this:
            return None
        if event == "line":
            count += 1
            if count == line:
                sys.settrace(None)
                os.write(writer, f"{name}:{frame.f_lineno}\n".encode())
                os.kill(this, number)
        return trace

    sys.settrace(trace)
    try:
        return starting._status("c2wtasks")
    finally:
        sys.settrace(None)
        os.write(writer, str(count).encode())


def a_night(folder: Path) -> list[str]:
    """All bundles are built, and have changed since."""
    images = small_catalog(folder)
    assert run_doit(folder).exit == 0
    for image in images.values():
        image["process"] = {"args": ["x"]}
    images["web"]["source"] = "oci:db"
    write_catalog(folder, images)
    return ["-n", "1"]


def from_scratch(folder: Path) -> list[str]:
    small_catalog(folder)
    return ["-n", "2"]


def a_repair(folder: Path) -> list[str]:
    small_catalog(folder)
    assert run_doit(folder).exit == 0
    (folder / "bundles/web/linux-amd64/spec.json").write_text("{}")
    (folder / "bundles/db/linux-amd64/rootfs/var/data").write_text("edited")
    return ["verify", "--repair", "-n", "1"]


def a_cleaning(folder: Path) -> list[str]:
    small_catalog(folder)
    assert run_doit(folder).exit == 0
    return ["clean", "--yes"]


KINDS: tuple[Callable[[Path], list[str]], ...] = (a_night, from_scratch, a_repair, a_cleaning)


def records(folder: Path) -> dict[str, bytes]:
    return {f"{path.parts[-3]}@linux/amd64": path.read_bytes() for path in folder.glob("bundles/*/*/bundle.json")}


def check(before: Path, folder: Path, words: list[str], ended: Ended, number: int) -> None:
    """What is true of a command that was struck in a copy of `before`; it is done once more then, and a whole run."""
    assert ended.status in (0, -number if number == signal.SIGKILL else 128 + number), ended
    assert "Traceback" not in ended.said and "Exception ignored" not in ended.said, ended
    old = records(before)
    new = {bundle for bundle, text in records(folder).items() if text != old.get(bundle)}
    if number != signal.SIGKILL and words[0] == "-n":
        runs = json.loads(run_doit(folder, "history", "--json").stdout)["runs"]
        rows = [row for run in runs if isinstance(run["bundles"], list) for row in run["bundles"]]
        told = {row["bundle"] for row in rows if row["state"] == "built" and row.get("before") != row.get("after")}
        assert new <= told, (ended, new - told)
    again = run_doit(folder, *words)
    assert again.exit == 0, (ended, again)
    whole = run_doit(folder)
    assert (whole.exit, whole.stderr) == (0, ""), (ended, whole)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    starting.import_all()
    rng, done = random.Random(options.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch:
        for kind in KINDS:
            before, one = Path(scratch) / kind.__name__, Path(scratch) / f"{kind.__name__}-undisturbed"
            before.mkdir()
            words = kind(before)
            subprocess.run(["cp", "-a", before, one], check=True)
            undisturbed = struck(one, words, 0, 0)
            assert undisturbed.status == run_doit(one).exit == 0, undisturbed
            lines = undisturbed.lines
            began = time.monotonic()
            for _ in range(options.rounds // len(KINDS)):
                folder, number = Path(scratch) / "copy", rng.choice(SIGNALS)
                subprocess.run(["cp", "-a", before, folder], check=True)
                ended = struck(folder, words, rng.randrange(1, lines + 1), number)
                check(before, folder, words, ended, number)
                assert contents(folder) == contents(one), ended
                assert in_roots(folder) == in_roots(one), ended
                done[f"{kind.__name__}: {ended.status}"] += 1
                subprocess.run(["rm", "-rf", folder], check=True)
            print(f"{kind.__name__}: {lines} lines, {time.monotonic() - began:.0f} s", flush=True)
    print(dict(done))


if __name__ == "__main__":
    main()
