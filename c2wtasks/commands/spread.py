"""`doit spread`: builds the catalog's shards on the workers of a Dask cluster, and merges what they have built."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from doit.exceptions import InvalidCommand

from c2wtasks.bundlefile import shards
from c2wtasks.commands.base import FINE, NOT_FINE, OurCommand
from c2wtasks.commands.merge import Merging
from c2wtasks.engine.dask import cluster, job
from c2wtasks.engine.dask.cluster import Cluster, ClusterError
from c2wtasks.engine.dask.following import Followed, following
from c2wtasks.engine.dask.job import Built, Catalog, Described, Job
from c2wtasks.engine.dask.placing import placed
from c2wtasks.engine.exclusive import alone
from c2wtasks.engine.interrupt import signals
from c2wtasks.errors import program, some_of
from c2wtasks.graph.resolved import LOCK, Resolved
from c2wtasks.telling import stages
from c2wtasks.telling.notices import tell

_LOCAL = {
    "name": "local",
    "long": "local",
    "type": int,
    "default": 0,
    "help": "use so many workers on this machine, which end with the command: to try it",
}
_DODO = "dodo.py"
_TRIES = 3
"""How often a shard is handed out where worker or scheduler are lost: what is done already is not done again."""


class Spread(OurCommand):
    """Has the workers of a cluster build the catalog."""

    name = "spread"
    doc_purpose = "build the catalog on the workers of a Dask cluster"
    doc_usage = "[--local N]"
    doc_description = (
        "The scheduler is `engine: {dask: ADDRESS}` in bundle.yaml. Each worker builds shards of the catalog, in a "
        "folder of its own, and this machine merges what they have built. All have to see the folder of bundle.yaml, "
        "and this machine the workers' folders, by the same path. Exit status 0: all are built. 1: some have failed. "
        "3: wrong command line, or workers that would build something else."
    )
    cmd_options = (_LOCAL,)
    of_all_shards = True
    looks_up = "not"

    def only_looks(self, params: Any) -> bool:
        return False

    def _execute(self, local: int) -> int:
        graph = self.graph
        self.no_words("all bundles are built")
        if graph.misfit():
            raise InvalidCommand(f"{LOCK} does not fit bundle.yaml; to make it fit, run: {program()} lock")
        if not local and not graph.file.engine.dask:
            raise InvalidCommand(
                "bundle.yaml names no cluster; write e.g. engine: {dask: 'tls://HOST:8786'}, or give --local 2"
            )
        with alone(self, self.graph_hooks):
            stages.begin("building on the workers")
            with Merging(graph, ["spread"]) as merging:
                with _scheduler(graph, local) as address:
                    _Spreading(graph, merging, self.outstream, self.show).run(address, local)
                signals.ignore()  # as `merge` does
        self.show(merging.report.lines())
        return NOT_FINE if merging.failed else FINE


@contextmanager
def _scheduler(graph: Resolved, local: int) -> Iterator[str]:
    """The address of the cluster's scheduler."""
    if not local:
        yield graph.file.engine.dask
        return
    with tempfile.TemporaryDirectory(prefix="c2wtasks-") as folder, cluster.local(local, folder) as address:
        yield address


class _Spreading:
    """A catalog that workers build. What a shard has built is merged at once, while others are at work."""

    def __init__(self, graph: Resolved, merging: Merging, stream: Any, show: Callable[[list[str]], None]) -> None:
        self.graph = graph
        self.merging = merging
        self.stream, self.show = stream, show
        self.catalog = _catalog(graph)

    def run(self, address: str, local: int) -> None:
        """Has all shards built, by the cluster whose scheduler has this address.

        Raises InvalidCommand, ClusterError.
        """
        count = self.graph.file.engine.shards or local or shards.DEFAULT_COUNT
        shares = shards.split(self.graph.file.bundles, self.graph.lock.entries, count)
        left = {str(shards.Shard(n, count)): share for n, share in enumerate(shares, start=1) if share.bundles}
        why: dict[str, str] = {}
        followed = Followed({shard: len(share.bundles) for shard, share in left.items()})
        with following(self.stream, followed, self.show) as hear:
            for _ in range(_TRIES):
                try:
                    with Cluster(address) as at_work:
                        at_work.listen(self.catalog, hear)
                        self._try(at_work, left, why, followed)
                except ClusterError as error:
                    if not why:
                        raise
                    why |= dict.fromkeys(left, str(error))
                if not left:
                    return
        for shard, share in left.items():
            self._fail(share, f"shard {shard} was lost: {why[shard]}")

    def _try(self, at_work: Cluster, left: dict[str, shards.Share], why: dict[str, str], followed: Followed) -> None:
        """Has the shards built that are `left`: what is lost of them stays so, and `why` says why."""
        sizes = {shard: share.read for shard, share in left.items()}
        for shard, ended in self._built(at_work, sizes):
            if isinstance(ended, str):
                why[shard] = ended
                tell(f"shard {shard}: {ended}")
            else:
                followed.heard(shard, "working  merging its bundles")
                share = left.pop(shard)
                if reason := self._merged(ended, share):
                    self._fail(share, f"shard {shard}: {reason}")
            followed.ended(shard, lost=isinstance(ended, str))

    def _built(self, at_work: Cluster, sizes: Mapping[str, int]) -> Iterator[tuple[str, Built | str]]:
        threads = at_work.threads()
        described = _fit(at_work.described(self.catalog, threads))
        busy: dict[str, int] = defaultdict(int)
        for address, worker in described.items():
            busy[worker.host] += threads[address]
        where = placed(sizes, {address: worker.has for address, worker in described.items()})
        jobs = {}
        for shard, address in where.items():
            worker = described[address]
            jobs[shard] = Job(self.catalog, shard, max(1, worker.cpus // busy[worker.host]))
        yield from at_work.built(jobs, where)

    def _merged(self, built: Built, share: shards.Share) -> str:
        """Merges what a shard has built; says why it cannot, "" where it can. Raises OutputError."""
        if not built.sha256:
            return built.line
        if job.sha256_of_file(os.path.join(built.output, job.CATALOG)) != built.sha256:
            return f"its output {built.output} is not to be seen here"
        try:
            self.merging.bring(share.bundles, [built.output])
        except InvalidCommand as error:  # it has other bundles: its bundle.yaml was changed meanwhile
            return str(error)
        return ""

    def _fail(self, share: shards.Share, why: str) -> None:
        self.merging.failed |= dict.fromkeys(map(str, share.bundles), why)


def _catalog(graph: Resolved) -> Catalog:
    """The catalog as workers are to see it. Raises OSError."""
    folder = os.path.abspath(graph.folder or ".")
    names = (*(os.path.relpath(path, graph.folder or ".") for path in graph.file.files), LOCK, _DODO)
    return Catalog(graph.identity, folder, names, job.sha256_of(folder, names))


def _fit(described: Mapping[str, Described | str]) -> dict[str, Described]:
    """The workers that can build the catalog. One that does not answer is told.

    Raises InvalidCommand: a worker cannot build it, or would build another one than this machine. ClusterError: none
    answers.
    """
    wanted, rights = job.versions(), job.rights()
    found = {}
    for address, worker in described.items():
        if isinstance(worker, str):
            tell(f"worker {address}: {worker}; it gets no shard")
            continue
        found[address] = worker
        if worker.hindrance:
            raise InvalidCommand(f"worker {address}: {worker.hindrance}")
        others = [
            f"{name} {worker.versions.get(name, 'missing')} where this machine has {version}"
            for name, version in wanted.items()
            if worker.versions.get(name) != version
        ]
        if others:
            raise InvalidCommand(f"worker {address}: {some_of(others)}; install the same versions there")
        if worker.rights != rights:
            raise InvalidCommand(
                f"worker {address}: is another user there, or may do other things with files; start it as here"
            )
    if not found:
        raise ClusterError("no worker can be used", hint="install c2wtasks[dask] where they are")
    return found
