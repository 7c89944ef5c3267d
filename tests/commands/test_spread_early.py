"""What a shard has built is merged while others are at work: whatever comes then, all that stands is whole, and the
catalog says what stands."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_merge import contents, in_roots, is_whole, published
from tests.soak.crashes import processes_in
from tests.support.cluster import IMPATIENT, Cluster, eventually
from tests.support.disks import NEEDS_ROOT, small_disks
from tests.support.hooking import STOPPED, hooked
from tests.support.running import run_doit

OTHERS = """
import c2wtasks.engine.dask.job as _job
_usual = _job.sha256_of_file
def _with_others(path):
    text = open(path).read()
    if "1-of-2" in path:
        open(path, "w").write(text.replace('"db"', '"no"'))
    return _usual(path)
_job.sha256_of_file = _with_others
"""
"""On a worker: the catalog of the first shard has a bundle of another name."""
KILLED_WHEN_READY = """
import os
import c2wtasks.commands.merge as _merge
_stage = _merge.Merging._stage
def _staged(self, bundle, folder):
    ready = _stage(self, bundle, folder)
    if os.path.exists("kill"):
        os.remove("kill")
        os.kill(os.getpid(), 9)
    return ready
_merge.Merging._stage = _staged
"""
"""Who merges is killed when the first bundle is ready to be published, if there is a file `kill`."""


def shards(catalog: Path) -> dict[int, set[str]]:
    """The bundles of each shard."""
    found = {}
    for number in (1, 2):
        rows = json.loads(run_doit(catalog, "list", "--json", env={"C2WTASKS_SHARD": f"{number}/2"}).stdout)
        found[number] = {f"{row['image']}@{row['platform']}" for row in rows["bundles"]}
    return found


def listed(catalog: Path) -> dict[str, Any]:
    """The status of each bundle in catalog.json."""
    lines = json.loads((catalog / "bundles/catalog.json").read_text())["bundles"]
    return {f"{line['name']}@{line['platform']}": line["status"] for line in lines}


def are_whole(catalog: Path, one: Path, bundles: set[str]) -> None:
    """These bundles are, and there are no others."""
    assert published(catalog) == bundles
    names = {bundle.partition("@")[0] for bundle in bundles}
    expected = {path: text for path, text in contents(one).items() if path.split("/")[0] in names}
    assert {path: text for path, text in contents(catalog).items() if path != "catalog.json"} == expected
    assert in_roots(catalog).items() <= in_roots(one).items()


@pytest.mark.parametrize("held", [1, 2])
def test_a_shard_is_merged_while_the_other_is_at_work(cluster: Cluster, one: Path, held: int) -> None:
    early = shards(cluster.catalog)[3 - held]
    cluster.hold(held)
    spreading = cluster.spreading()
    eventually(lambda: published(cluster.catalog) == early)
    assert not (cluster.catalog / "bundles/catalog.json").exists(), "it is written when all is there"
    cluster.hold(held, on=False)
    run = cluster.ended(spreading)
    assert (run.exit, run.stderr) == (0, "")
    assert run.stdout.splitlines()[-1] == "3 merged, 0 current"
    is_whole(cluster.catalog, one)
    assert run_doit(cluster.catalog, "verify").exit == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_command_ends_after_a_shard_was_merged(cluster: Cluster, one: Path, number: signal.Signals) -> None:
    early = shards(cluster.catalog)[2]
    cluster.hold(1)
    spreading = cluster.spreading()
    eventually(lambda: published(cluster.catalog) == early)
    eventually(lambda: not list((cluster.catalog / "bundles/.parts").glob("*/*/.new")))
    spreading.send_signal(number)
    run = cluster.ended(spreading)
    are_whole(cluster.catalog, one, early)
    if number != signal.SIGKILL:
        assert run.exit == 128 + number
        assert run.stderr.splitlines() == ["interrupted"]
        status = {bundle: "built" if bundle in early else "missing" for bundle in listed(cluster.catalog)}
        assert listed(cluster.catalog) == status
        last = json.loads(run_doit(cluster.catalog, "history", "--json").stdout)
        assert {row["state"] for row in last["runs"][0]["bundles"]} == {"built", "left out"}
    eventually(cluster.is_quiet, lambda: processes_in(cluster.catalog))
    cluster.hold(1, on=False)
    again = cluster.spread()
    assert again.exit == 0
    assert again.stdout.splitlines()[-1] == f"{3 - len(early)} merged, {len(early)} current"
    is_whole(cluster.catalog, one)


@pytest.mark.parametrize("name", ["_take_place", "publish"])
def test_the_command_is_stopped_before_what_it_published_is_noted(cluster: Cluster, one: Path, name: str) -> None:
    cluster.hold(1)
    (cluster.catalog / "stop").touch()
    cluster.hook += STOPPED.format(name=name)
    run = cluster.spread()
    assert (run.exit, run.stderr) == (128 + signal.SIGINT, "interrupted\n")
    good = published(cluster.catalog)
    assert good
    assert {bundle for bundle, status in listed(cluster.catalog).items() if status == "built"} == good
    last = json.loads(run_doit(cluster.catalog, "history", "--json").stdout)
    assert {row["bundle"] for row in last["runs"][0]["bundles"] if row["state"] == "built"} == good
    eventually(cluster.is_quiet, lambda: processes_in(cluster.catalog))
    cluster.hold(1, on=False)
    assert cluster.spread().stdout.splitlines()[-1] == f"{3 - len(good)} merged, {len(good)} current"
    is_whole(cluster.catalog, one)


def test_the_command_is_killed_while_it_merges(cluster: Cluster, one: Path) -> None:
    cluster.hold(1)
    (cluster.catalog / "kill").touch()
    cluster.hook += KILLED_WHEN_READY
    assert cluster.spread().exit == -signal.SIGKILL
    assert published(cluster.catalog) == set()
    eventually(cluster.is_quiet, lambda: processes_in(cluster.catalog))
    cluster.hold(1, on=False)
    assert cluster.spread().exit == 0
    is_whole(cluster.catalog, one)
    assert run_doit(cluster.catalog, "verify").exit == 0


def test_a_shard_fails_after_the_other_was_merged(cluster: Cluster, one: Path) -> None:
    cluster.hook = IMPATIENT
    both = shards(cluster.catalog)
    cluster.hold(1)
    spreading = cluster.spreading()
    eventually(lambda: published(cluster.catalog) == both[2])
    cluster.kill("w1", "w2")
    run = cluster.ended(spreading)
    assert run.exit == 1
    assert run.stdout.splitlines()[-1] == f"{len(both[2])} merged, 0 current, {len(both[1])} failed"
    for bundle in both[1]:
        assert f"\n{bundle}: shard 1/2 was lost: " in run.stdout
    are_whole(cluster.catalog, one, both[2])
    assert {bundle for bundle, status in listed(cluster.catalog).items() if status == "failed"} == both[1]
    assert {bundle for bundle, status in listed(cluster.catalog).items() if status == "built"} == both[2]


def test_a_shard_with_other_bundles_fails_by_name(bare: Cluster, one: Path, tmp_path: Path) -> None:
    bare.scheduler()
    bare.worker("w1", hooked(tmp_path / "hook", OTHERS))
    bare.write()
    both = shards(bare.catalog)
    run = bare.spread()
    assert run.exit == 1
    for bundle in both[1]:
        assert f"\n{bundle}: shard 1/2: " in run.stdout
    assert "which bundle.yaml has not; build the shards again" in run.stdout
    are_whole(bare.catalog, one, both[2])


@NEEDS_ROOT
def test_the_disk_is_full_when_a_shard_is_merged(cluster: Cluster, one: Path) -> None:
    with small_disks(cluster.catalog) as mount:
        mount("bundles", "128k")
        run = cluster.spread()
        assert run.exit == 1
        assert "No space left on device" in run.stdout + run.stderr, run
        good = published(cluster.catalog)
        assert len(good) < 3
        are_whole(cluster.catalog, one, good)
        mount("bundles", "64M")
        again = cluster.spread()
        assert (again.exit, again.stdout.splitlines()[-1]) == (0, f"{3 - len(good)} merged, {len(good)} current")
        is_whole(cluster.catalog, one)
