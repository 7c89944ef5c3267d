"""A month of nights: images whose package databases change at random, and what `doit changes` says of each night,
held against what dpkg itself says of both.

A few nights are in tests/commands/test_changes_of_nights.py. The long form, by hand:

    python -m tests.soak.month --nights 30 --seed 1
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import shutil
import subprocess
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from tests.graph.catalogs import write_catalog
from tests.support.images import Layout
from tests.support.running import run_doit

FIRST = date(2026, 11, 1)
CLOCK = "120000"
"""In UTC; nearly everywhere the same day."""
IMAGES = ("api", "web")
NOT_THERE = ("rc", "un", "pn")


class Package(NamedTuple):
    version: str
    architecture: str
    status: str = "install ok installed"


Database = dict[str, Package]
Said = set[tuple[str, str, str | None, str | None]]
"""(way, name, old version, new version)."""


def real_packages() -> Database:
    """Those of this machine, by dpkg."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.split() for line in done.stdout.splitlines())
    return {line[0]: Package(line[1], line[2]) for line in lines if len(line) == 3}


def text(database: Database) -> str:
    """It as dpkg's status file."""
    return "".join(
        f"Package: {name}\nStatus: {one.status}\nMaintainer: x\nArchitecture: {one.architecture}\n"
        f"Version: {one.version}\nDescription: x\n\n"
        for name, one in sorted(database.items())
    )


def next_night(rng: random.Random, database: Database) -> Database:
    """What a night makes of it."""
    found = dict(database)
    names = rng.sample(sorted(found), min(len(found), rng.randrange(1, 40)))
    for name in names:
        one, what = found[name], rng.random()
        if what < 0.5:
            more = rng.choice(["+b1", ".1", "+deb12u1", "-1" if "-" not in one.version else ".2"])
            found[name] = one._replace(version=one.version + more)
        elif what < 0.6:
            found[name] = one._replace(version=one.version + "~bpo1")
        elif what < 0.65:
            found[name] = one._replace(version="1:" + one.version.partition(":")[2] if ":" in one.version else "1:0")
        elif what < 0.75:
            del found[name]
        elif what < 0.8:
            found[name] = one._replace(status="deinstall ok config-files")
        elif what < 0.9:
            found[name] = one._replace(status="hold ok installed")
        else:
            found[f"{name}-more"] = Package("1.0-1", one.architecture)
    return found


def dpkg_says(folder: Path, database: Database) -> dict[str, str]:
    """The packages that `dpkg -l` shows as there, with their versions."""
    admin = folder / "admin"
    shutil.rmtree(admin, ignore_errors=True)
    for part in ("info", "updates"):
        (admin / part).mkdir(parents=True)
    (admin / "status").write_text(text(database))
    done = subprocess.run(
        ["dpkg-query", f"--admindir={admin}", "-W", "-f", "${db:Status-Abbrev}|${Package}|${Version}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return {name: version for status, name, version in rows if status.strip() not in NOT_THERE}


def dpkg_differs(old: dict[str, str], new: dict[str, str]) -> Said:
    """What differs, by dpkg's own order of versions."""
    found: Said = set()
    for name in old.keys() | new.keys():
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if was is None or now is None:
            found.add(("added" if was is None else "removed", name, was, now))
        else:
            compare = ["dpkg", "--compare-versions", now]
            up, down = (subprocess.run([*compare, sign, was], check=False).returncode == 0 for sign in ("gt", "lt"))
            found.add(("up" if up else "down" if down else "other", name, was, now))
    return found


def we_say(folder: Path, since: date) -> dict[str, Said]:
    """What `doit changes` says of packages, by image."""
    done = run_doit(folder, "changes", f"--since={since}", "--json")
    assert done.exit == 0, done.stderr
    report = json.loads(done.stdout)
    assert report.get("notes", []) == []
    found: dict[str, Said] = {}
    for change in report["changes"]:
        sides = [
            (
                one["way"],
                one["name"],
                *(side["versions"][0] if (side := one.get(when)) else None for when in ("old", "new")),
            )
            for one in change.get("packages", ())
        ]
        found[change["bundle"].partition("@")[0]] = set(sides)
    return found


def image(folder: Path, name: str, database: Database) -> None:
    """An image with that database, and a program of its own."""
    shutil.rmtree(folder / name, ignore_errors=True)
    base = {"bin/sh": "sh", "var/lib/dpkg/status": text(database)}
    Layout(folder / name).image(base, {f"srv/{name}": name}, cmd=["sh"])


def redate(folder: Path, night: date) -> None:
    """Lets what the last run noted be of that night."""
    history, began = folder / "bundles/.history", f"{night}T{CLOCK[:2]}:{CLOCK[2:4]}:{CLOCK[4:]}.000Z"
    for path in history.iterdir():
        if path.name == "null" or f"T{CLOCK}.000Z" in path.name:
            continue
        if ".json" in path.name:
            run = json.loads(gzip.decompress(path.read_bytes())) | {"began": began}
            path.write_bytes(gzip.compress(json.dumps(run).encode()))
        path.rename(history / f"{night:%Y%m%d}T{CLOCK}.000Z.{path.name.partition('Z.')[2]}")
    if (history / "null").exists():
        lines = [json.loads(line) for line in (history / "null").read_text().splitlines()]
        for line in lines:
            if not line["began"].endswith(began[10:]):
                line["began"] = began
        (history / "null").write_text("".join(json.dumps(line) + "\n" for line in lines))


def bytes_of(folder: Path) -> dict[str, str]:
    """Each file of the output, but for the line on runs that had nothing to do."""
    paths = (path for path in (folder / "bundles").rglob("*") if path.is_file() and path.name != "null")
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def month(folder: Path, nights: int, seed: int) -> tuple[int, int, int]:
    """Builds and compares so many nights. Gives how many were quiet, how many packages changed in all, and how many
    of these went down."""
    rng = random.Random(seed)
    databases = dict.fromkeys(IMAGES, real_packages())
    write_catalog(folder, {name: {"source": f"oci:{name}", "rootfs": ["tar"]} for name in IMAGES})
    said: dict[str, list[dict[str, str]]] = {name: [] for name in IMAGES}
    quiet = changed = down = 0
    for number in range(nights + 1):
        night = FIRST + timedelta(days=number)
        before = bytes_of(folder) if number else {}
        if number and number != 2 and rng.random() < 0.85:
            databases = {name: next_night(rng, database) for name, database in databases.items()}
        for name, database in databases.items():
            image(folder, name, database)
            said[name].append(dpkg_says(folder, database))
        assert run_doit(folder).exit == 0
        redate(folder, night)
        if not number:
            continue
        wanted = {name: dpkg_differs(*said[name][-2:]) for name in IMAGES}
        ours = we_say(folder, night - timedelta(days=1))
        for name in IMAGES:
            assert ours.get(name, set()) == wanted[name], (night, name)
        changed += sum(map(len, wanted.values()))
        downs = [one for found in wanted.values() for one in found if one[0] == "down"]
        down += len(downs)
        shown = run_doit(folder, "changes").stdout
        for _, name, old, new in downs:
            assert f"{name} {old} -> {new}" in shown, (night, name)
        is_quiet = bytes_of(folder) == before
        if is_quiet:
            assert shown.startswith(f"nothing changed on {night}") and shown.count("\n") == 1, shown
        quiet += is_quiet
        assert run_doit(folder, "changes", "--exit-code").exit == (0 if is_quiet else 1)
    of_all = we_say(folder, FIRST)
    assert of_all == {name: dpkg_differs(found[0], found[-1]) for name, found in said.items()}
    return quiet, changed, down


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        quiet, changed, down = month(Path(folder), given.nights, given.seed)
    print(f"{given.nights} nights as dpkg says, {quiet} of them quiet; {changed} packages changed, {down} down")


if __name__ == "__main__":
    main()
