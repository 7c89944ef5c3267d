"""A generated catalog whose runs are killed at random moments, and what must be true after the next whole run.

The short form is in tests/engine/test_crash.py. The long one, by hand:

    python -m tests.soak.crashes --rounds 200 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.graph.catalogs import write_catalog
from tests.support import roots
from tests.support.hooking import KILLED_IN_ROOTS, SMALL_PARTS, WORKERS_AT_ONCE, hooked
from tests.support.images import Dir, Fifo, File, Hardlink, Layer, Layout, Symlink, Tree
from tests.support.running import environment, results, run_doit

VARIANTS = 4
NEAR = (0, 3)  # variants of which the next root of each image is made of the spare one
GOING = "going"  # a folder that these have not
_OWN_TIME, _WITHOUT = re.compile(r"^((?!rootfs/)\S+ f \d+ \d+:\d+) \d+"), r"\1"  # when it was published
OUTPUTS = ("bundles", "cache", ".doit.db", ".doit.db-wal", ".doit.db-shm", ".doit.db.lock")


@dataclass
class Soak:
    """`images` and `layers` say how large the catalog is: `files` files in each layer."""

    folder: Path
    seed: int
    images: int = 12
    layers: int = 8
    files: int = 250
    expected: dict[int, list[str]] = field(default_factory=dict)
    killed: int = 0
    seconds: float = 0

    def prepare(self) -> None:
        """Makes the images, and builds each variant of the catalog undisturbed."""
        rng = random.Random(self.seed)
        layers = [Layer.of(random_tree(rng, self.files), ("gzip", "zstd", "none")[n % 3]) for n in range(self.layers)]
        layers.append(
            Layer.of({"large": File(content=rng.randbytes(300 << 10))}, "none")
        )  # takes a lock, and is synced
        layout = Layout(self.folder / "layout")
        for number in range(self.images):
            chosen = rng.sample(layers, min(3, self.layers - 1))
            other = rng.choice([layer for layer in layers if layer not in chosen])
            own: Tree = {
                f"own/{number}": str(number),
                "srv/": Dir(mtime=number),
                f"{GOING}/er/still": "",
                f"{GOING}/now": "",
            }
            layout.image(*chosen, own, tag=f"i{number}", cmd=["sh"])
            layout.image(*chosen[:-1], other, own, tag=f"i{number}-other", cmd=["sh"])
            layout.image(*chosen, near_to(own, rng), tag=f"i{number}-near", cmd=["sh"])
        for variant in range(VARIANTS):
            self.write(variant)
            began = time.monotonic()
            done = run_doit(self.folder, "-n", "0")
            self.seconds = max(self.seconds, time.monotonic() - began)
            assert (done.exit, done.stderr) == (0, ""), done
            self.expected[variant] = self.outputs()
            self.wipe()

    def write(self, variant: int, *, share: bool = False) -> None:
        """bundle.yaml: in variant 1 a third of the images run otherwise, in 2 a third have another layer, in 3 all
        have another top layer, of a few files."""
        images: dict[str, Any] = {}
        for number in range(self.images):
            image: dict[str, Any] = {"source": f"oci:layout:i{number}"}
            if variant == 1 and number % 3 == 0:
                image["process"] = {"env": {"VARIANT": "1"}}
            if variant == 2 and number % 3 == 1:
                image["source"] += "-other"
            if variant == 3:
                image["source"] += "-near"
            images[f"i{number}"] = image
        write_catalog(self.folder, images, share=share)

    def wipe(self) -> None:
        for name in OUTPUTS:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def outputs(self) -> list[str]:
        """All that is published: names, kinds, modes, owners, times in roots, links, content."""
        found = [(self.folder / "bundles/catalog.json").read_text()]
        for number in range(self.images):
            at = f"bundles/i{number}/linux-amd64"
            lines = roots.of_folder(str(self.folder / at))
            found += [f"{at}: {_OWN_TIME.sub(_WITHOUT, line)}" for line in lines]
        return found

    def round(self, number: int) -> str:
        """Kills one to three runs, or pairs of runs, and looks at what the next whole run makes. Says what it did."""
        rng = random.Random(f"{self.seed}:{number}")
        variant, begun = rng.randrange(VARIANTS), rng.choice(["from scratch", "as it is", "with spare roots"])
        fresh, share = begun == "from scratch", rng.random() < 0.5
        if fresh:
            self.wipe()
        elif begun == "with spare roots":
            variant = rng.choice(NEAR)
            self._make_spares(variant, share)
        self.write(variant, share=share)
        said = [f"variant {variant}, {begun}{', of shared files' * share}"]
        for _ in range(rng.randint(1, 3)):
            in_roots = begun == "with spare roots" and rng.random() < 0.7
            said.append(self._killed_in_roots(rng) if in_roots else self._killed(rng))
        recorded = self._recorded() if fresh else set()
        report = results(self.folder)
        assert set(report.values()) <= {"success", "up-to-date"}, report
        repeated = recorded & {task for task, result in report.items() if result == "success"}
        assert not repeated, f"done twice: {repeated}"
        have, want = self.outputs(), self.expected[variant]
        assert have == want, [pair for pair in zip(have, want, strict=False) if pair[0] != pair[1]][:5]
        self._check_shared(share)
        debris = self.debris()
        assert debris == [], debris
        again = results(self.folder)
        assert set(again.values()) == {"up-to-date"}, again
        return "; ".join(said)

    def _check_shared(self, share: bool) -> None:
        """That files of common layers which are alike are one, in all roots; or that none is."""
        found: dict[str, set[int]] = {}
        for number in range(self.images):
            root = self.folder / f"bundles/i{number}/linux-amd64/rootfs"
            for line in roots.of_folder(str(root)):
                path, kind, *_ = line.split(" ")
                of_many = path.rpartition("/")[2].startswith("f")
                if kind == "f" and of_many and (state := (root / path).stat()).st_size:
                    found.setdefault(line if share else f"{number} {line}", set()).add(state.st_ino)
        if share:
            assert [line for line, inodes in found.items() if len(inodes) > 1] == []
        else:
            assert len(set().union(*found.values())) == len(found)

    def _make_spares(self, variant: int, share: bool) -> None:
        """Builds what the given variant is near to, with spare roots for it; and sees that such roots are used."""
        for each in (NEAR[0] + NEAR[1] - variant, variant, NEAR[0] + NEAR[1] - variant):
            before = [self._inode(f".parts/i{number}/linux-amd64/spare") for number in range(self.images)]
            self.write(each, share=share)
            assert set(results(self.folder).values()) <= {"success", "up-to-date"}
        assert before == [self._inode(f"i{number}/linux-amd64/rootfs") for number in range(self.images)]

    def _inode(self, path: str) -> int:
        path = f"{self.folder}/bundles/{path}"
        return os.lstat(path).st_ino if os.path.lexists(path) else 0

    def _killed_in_roots(self, rng: random.Random) -> str:
        """A run of which each process that writes a root is killed there, or lives for having few steps to do."""
        step, workers = int(40 ** rng.random() * 2), rng.random() < 0.5
        code = KILLED_IN_ROOTS + (WORKERS_AT_ONCE + SMALL_PARTS if workers else "")
        env = hooked(self.folder / "hook", code, STEP=str(step))
        run_doit(self.folder, "-n", "2" if workers else "0", env=env)
        self.killed += 1
        self._all_gone()
        return f"a run{' with workers' * workers} killed at step {step} of a root"

    def _killed(self, rng: random.Random) -> str:
        workers = rng.random() < 0.5
        env = environment(hooked(self.folder / "hook", WORKERS_AT_ONCE + SMALL_PARTS if workers else ""))
        command = [sys.executable, "-m", "doit", "-n", str(rng.choice([0, 2]) if not workers else 2)]
        count = rng.choice([1, 1, 2])
        runs = []
        for _ in range(count):
            runs.append(
                subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        self.killed += len(runs)
        alone = rng.random() < 0.5  # only the run itself is killed, its workers must notice
        delays = []
        for run in rng.sample(runs, len(runs)):
            delay = rng.uniform(0.3, 0.6 + self.seconds * (1.5 if workers else 1) / count)
            delays.append(delay)
            time.sleep(delay)
            (os.kill if alone else os.killpg)(run.pid, signal.SIGKILL)
        for run in runs:
            run.wait()
        self._all_gone()
        how = f"{count} run{'s' * (count > 1)}{' with workers' * workers}"
        return f"{how} killed{' alone' * alone} after {'+'.join(f'{delay:.2f}' for delay in delays)} s"

    def _all_gone(self) -> None:
        """No process that belongs to a run outlives it; the pool's own trackers end when they see that it is gone."""
        deadline = time.monotonic() + 20
        while left := list(processes_in(self.folder)):
            assert time.monotonic() < deadline, left
            time.sleep(0.02)

    def _recorded(self) -> set[str]:
        if not (self.folder / ".doit.db").exists():
            return set()
        with closing(sqlite3.connect(self.folder / ".doit.db")) as database:
            try:
                return {task for (task,) in database.execute("select id from task")}
            except sqlite3.OperationalError:  # killed before it made the table
                return set()

    def debris(self) -> list[str]:
        """What no run that ended well leaves."""
        bundles, cache = self.folder / "bundles", self.folder / "cache"
        found = [path for top in (bundles, cache) for path in top.rglob(".tmp-*")]
        found += [path for path in (bundles / ".parts").glob("*/*/*") if path.name.startswith(".")]
        found += (bundles / ".parts").glob("*/*/rootfs")
        found += [path for name in ("locks", "unfinished") for path in (cache / "layers" / name).iterdir()]
        found += self.folder.glob(".doit.db.*")
        return sorted(map(str, found))


def processes_in(folder: Path) -> list[str]:
    """The command lines of processes whose working directory `folder` is."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "cwd") == str(folder.resolve()):
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return found


def random_tree(rng: random.Random, files: int) -> Tree:
    """A layer: files in folders that other layers have too, of all kinds."""
    tree: dict[str, Any] = {}
    for number in range(files):
        folder = f"d{rng.randrange(12)}/e{rng.randrange(6)}"
        tree.setdefault(
            f"{folder.partition('/')[0]}/", Dir(mode=rng.choice([0o755, 0o700]), mtime=rng.randrange(10**9))
        )
        tree.setdefault(f"{folder}/", Dir(mode=rng.choice([0o755, 0o555, 0o2775]), uid=rng.randrange(3)))
        name = f"{folder}/f{rng.randrange(3 * files)}"
        mode, mtime = rng.choice([0o644, 0o600, 0o4755]), rng.randrange(10**9) / 8
        kind = rng.random()
        if kind < 0.05:
            tree[name] = Symlink(f"../f{number}", mtime=mtime)
        elif kind < 0.08:
            tree[name] = Fifo(mode=mode, mtime=mtime)
        elif kind < 0.1:
            tree[f"{folder}/.wh.f{rng.randrange(3 * files)}"] = File()
        else:
            size = rng.choice([0, 10, 1000, 5000, 200_000 if number % 40 == 0 else 50])
            owners = {"uid": rng.randrange(3), "gid": rng.randrange(3)}
            tree[name] = File(mode=mode, mtime=mtime, content=rng.randbytes(size), **owners)
            if kind > 0.97:
                tree[f"{name}-too"] = Hardlink(name)
    return tree


def near_to(layer: Tree, rng: random.Random) -> Tree:
    """The layer without one folder, and with a few more entries, which hide, replace or change what lower layers may
    have: no more than an eighth of all, up to which the next root is made of the spare one."""
    near: Tree = {name: entry for name, entry in layer.items() if not name.startswith(f"{GOING}/")}
    near |= {"d1/": Dir(mode=0o711, mtime=5), "d2/e2": File(content="was a folder"), "d3/.wh.e3": File()}
    for number in range(6):
        name = f"d{rng.randrange(4, 12)}/e{rng.randrange(6)}/n{number}"
        near[name] = File(content=name, mode=rng.choice([0o644, 0o4755]), mtime=number)
    return {**near, "own/too": Hardlink(name), "srv/link": Symlink(name)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), options.seed)
        soak.prepare()
        print(f"an undisturbed build takes up to {soak.seconds:.1f} s", flush=True)
        for number in range(options.rounds):
            print(f"{number}: ", end="", flush=True)
            print(soak.round(number), flush=True)
    print(f"{options.rounds} rounds, {soak.killed} runs killed: all well")


if __name__ == "__main__":
    main()
