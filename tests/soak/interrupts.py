"""Runs that are interrupted at random moments by SIGINT, SIGTERM and SIGHUP: each ends at once, with its exit status
and one line, leaves no process behind, and the next whole run makes what an undisturbed one would.

The short form is in tests/engine/test_interrupt.py. The long one, by hand:

    python -m tests.soak.interrupts --runs 2000 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.crashes import Soak, processes_in
from tests.support.hooking import SMALL_PARTS, WORKERS_AT_ONCE, hooked
from tests.support.running import environment, results

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LINE = re.compile(r"interrupted: (no task|1 task|\d+ tasks) done; the next run goes on from here\n")
EARLY = "interrupted\n"  # while Python imports
SOON = 30  # seconds, for a busy machine

# Before Python runs the first line of a program nothing can be caught.
STARTED = """
from c2wtasks.engine import early
early.catch()
import os
os.write(3, b".")
os.close(3)
from c2wtasks.__main__ import main
main()
"""


@dataclass
class Interrupts:
    soak: Soak
    seed: int
    ended: Counter[str] = field(default_factory=Counter)

    def run(self, number: int) -> str:
        """Interrupts a run, and says how it ended. Every tenth is followed by a whole one."""
        rng = random.Random(f"{self.seed}:{number}")
        if rng.random() < 0.5:
            self.soak.wipe()
        self.soak.write(rng.randrange(3))
        how = self._interrupted(rng)
        self.ended[how.partition(" after")[0]] += 1
        if number % 10 == 9:
            self.whole()
        return how

    def whole(self) -> None:
        self.soak.write(0)
        report = results(self.soak.folder)
        assert set(report.values()) <= {"success", "up-to-date"}, report
        have, want = self.soak.outputs(), self.soak.expected[0]
        assert have == want, [pair for pair in zip(have, want, strict=False) if pair[0] != pair[1]][:5]
        debris = self.soak.debris()
        assert debris == [], debris

    def _interrupted(self, rng: random.Random) -> str:
        workers = rng.random() < 0.6
        hook = hooked(self.soak.folder / "hook", WORKERS_AT_ONCE + SMALL_PARTS if workers else "")
        env = environment({**hook, "PYTHONFAULTHANDLER": "1"})
        number, group = rng.choice(SIGNALS), rng.random() < 0.5
        started, said = os.pipe()
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen(
                ["bash", "-c", f'exec "$@" 3>&{said}', "bash", sys.executable, "-c", STARTED, "-n", rng.choice("12")],
                cwd=self.soak.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=[said],
            )
            os.close(said)
            assert os.read(started, 1) == b"."
            os.close(started)
            # Most of them in the midst of work, some while Python imports, some as the run ends.
            begins = rng.random() < 0.2
            delay = rng.uniform(0.0, 0.15) if begins else rng.uniform(0.1, 0.1 + self.soak.seconds * 0.5)
            time.sleep(delay)
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                (os.killpg if group else os.kill)(process.pid, number)
                time.sleep(rng.choice([0, 0, 0.01]))
            try:
                status = process.wait(timeout=SOON)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # it says where it stands
                process.wait()
                err.seek(0)
                raise AssertionError(err.read()) from None
            out.seek(0)
            err.seek(0)
            stdout, stderr = out.read(), err.read()
        at = f"{number.name}{' to the group' * group}, {'workers' if workers else 'threads'} after {delay:.3f} s"
        told = (at, status, stdout[-3000:], stderr)
        assert "Traceback" not in stdout + stderr, told
        assert "Exception ignored" not in stderr, told
        if status == 0:
            assert stderr == "", told
        else:
            assert status == 128 + number, told
            assert LINE.fullmatch(stderr) or stderr == EARLY, told
        deadline = time.monotonic() + SOON
        while left := [line for line in processes_in(self.soak.folder) if line]:
            assert time.monotonic() < deadline, (told, left)
            time.sleep(0.01)
        return f"{'done' if status == 0 else 'early' if stderr == EARLY else 'stopped'} by {at}"


def prepared(folder: Path, seed: int) -> Interrupts:
    soak = Soak(folder, seed, images=4, layers=5, files=60)
    soak.prepare()
    return Interrupts(soak, seed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        interrupts = prepared(Path(folder), options.seed)
        print(f"an undisturbed build takes up to {interrupts.soak.seconds:.1f} s", flush=True)
        for number in range(options.runs):
            print(f"{number}: {interrupts.run(number)}", flush=True)
        interrupts.whole()
        for how, count in sorted(interrupts.ended.items()):
            print(f"{count:5} {how}")
    print(f"{options.runs} runs: all well")


if __name__ == "__main__":
    main()
