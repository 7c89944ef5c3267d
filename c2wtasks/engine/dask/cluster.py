"""A Dask cluster, seen from the machine whose catalog its workers build: it only carries shards there and back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import msgspec

from c2wtasks.engine.dask import job
from c2wtasks.engine.dask.job import Built, Catalog, Described, Job
from c2wtasks.errors import UserError

_PATIENCE = 10  # seconds for the scheduler to answer, and for a worker to come
_LOOKED = 1.0  # seconds after which one looks again whether there are workers
_NO_WORKERS = "the cluster has no workers"
_NO_CERTIFICATES = "name the certificates, as Dask takes them: DASK_DISTRIBUTED__COMM__TLS__CA_FILE and others"
_LOST = {"KilledWorker": "its worker has died", "FutureCancelledError": "the scheduler is gone"}
_DESCRIBED = msgspec.json.Decoder(Described)
_BUILT = msgspec.json.Decoder(Built)
_TTL = "30s"  # a worker that says nothing for so long is lost, in a cluster of our own


class ClusterError(UserError):
    """The cluster cannot be had, or is lost."""


class Cluster:
    """A cluster's scheduler, that is connected while the block runs.

    Raises ClusterError.
    """

    def __init__(self, address: str) -> None:
        """`address` is that of the scheduler: `tls://host:port`, or `tcp://127.0.0.1:port`."""
        distributed = _imported()
        try:
            # What TLS needs (ca-file, client.cert, client.key) is Dask's own configuration.
            self._client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False, name="c2wtasks")
        except Exception as error:
            hint = _NO_CERTIFICATES if "ssl_context" in str(error) else None
            raise ClusterError(f"{address}: no scheduler answers there: {_first_line(error)}", hint=hint) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close(timeout=1)

    def listen(self, catalog: Catalog, hear: Callable[[str, str], None]) -> None:
        """Calls `hear` with the shard and the line, in another thread, where a shard of it says something."""

        def heard(event: Any) -> None:
            _, (shard, line) = event
            hear(shard, line)

        self._client.subscribe_topic(catalog.topic, heard)

    def threads(self) -> dict[str, int]:
        """How many shards each worker builds at once, by address. Raises ClusterError: there are no workers."""
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise ClusterError(_NO_WORKERS, hint="start some: dask worker ADDRESS") from error
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        return {address: worker["nthreads"] for address, worker in workers.items()}

    def described(self, catalog: Catalog, addresses: Iterable[str]) -> dict[str, Described | str]:
        """What these workers are; or why that is not known of one."""
        text = msgspec.json.encode(catalog).decode()
        found: dict[str, Described | str] = dict.fromkeys(sorted(addresses), "it does not answer")

        def ask(address: str) -> None:
            try:
                found[address] = _DESCRIBED.decode(self._client.run(job.describe, text, workers=[address])[address])
            except Exception as error:
                found[address] = _first_line(error)

        # One that stands still would have all wait for it, and cannot be waited for until it is given up.
        asking = [threading.Thread(target=ask, args=(address,), daemon=True) for address in found]
        for thread in asking:
            thread.start()
        deadline = time.monotonic() + _PATIENCE
        for thread in asking:
            thread.join(max(0.0, deadline - time.monotonic()))
        return dict(found)

    def built(self, jobs: Mapping[str, Job], placed: Mapping[str, str]) -> Iterator[tuple[str, Built | str]]:
        """The shards as they come to their end, each as what was built, or why it is lost. `placed` names the worker
        that is to build each; another one does where that is gone.

        What is not done yet where this is left is given up, and ends on the workers.
        """
        distributed = _imported()
        futures = {
            self._client.submit(
                job.build,
                msgspec.json.encode(one).decode(),
                workers=[placed[shard]],
                allow_other_workers=True,
                pure=False,
                retries=0,
            ): shard
            for shard, one in jobs.items()
        }
        over, alone = threading.Event(), threading.Event()
        threading.Thread(target=self._watch, args=(list(futures), over, alone), daemon=True).start()
        try:
            for future in distributed.as_completed(list(futures), loop=self._client.loop):
                ended = _ended(future)
                yield futures[future], _NO_WORKERS if isinstance(ended, str) and alone.is_set() else ended
        finally:
            over.set()
            self._client.cancel(list(futures), force=True)

    def _watch(self, futures: list[Any], over: threading.Event, alone: threading.Event) -> None:
        """Gives the jobs up, and sets `alone`, where there are no workers for some time: what none has begun with
        would wait for one for ever."""
        since = time.monotonic()
        while not over.wait(_LOOKED):
            try:
                workers = self._client.scheduler_info(n_workers=-1)["workers"]
            except Exception:  # that the scheduler is gone, the jobs tell
                continue
            if workers:
                since = time.monotonic()
            elif time.monotonic() - since > _PATIENCE:
                alone.set()
                self._client.cancel(futures, force=True)
                return


@contextmanager
def local(count: int, folder: str) -> Iterator[str]:
    """The address of the scheduler of a cluster of `count` workers on this machine, to try things with, which ends
    with the block; its files lie in `folder`."""
    distributed = _imported()
    import dask

    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.work-stealing": False,
        "distributed.scheduler.worker-ttl": _TTL,
        "distributed.worker.profile.enabled": False,  # it looks 100 times a second at what a worker does
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # its usual port may be another cluster's
            memory_limit=None,
            local_directory=folder,
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster.scheduler_address


def _imported() -> Any:
    """The package of Dask that we need. Raises ClusterError."""
    try:
        import distributed
    except ImportError as error:
        raise ClusterError("Dask is not installed", hint="pip install 'c2wtasks[dask]'") from error
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).handlers[:] = [logging.NullHandler()]  # what it logs, we say in a line
    return distributed


def _ended(future: Any) -> Built | str:
    """What came of a job, or why nothing did."""
    try:
        return _BUILT.decode(future.result())
    except Exception as error:
        return _LOST.get(type(error).__name__) or _first_line(error)


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:400]
