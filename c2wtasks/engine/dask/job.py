"""What a worker of the cluster does: it says what it is, and builds a shard.

What comes in and goes out is JSON. A shard has a folder on the worker's machine that stays, so the next night goes on
from what is there.
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata

import msgspec

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.process import cpus, runoptions
from c2wtasks.process.rights import builder

VARIABLE = "C2WTASKS_SHARDS"
"""The variable that names, on a worker, the folder in which it keeps its shards."""
CATALOG = "catalog.json"
_THAT_COUNT = ("c2wtasks", "doit", "isal", "msgspec", "xxhash", "zstandard")  # whose versions
_MAX_SIZE = 256 << 20
_LOOKED = 0.5  # seconds after which it looks again whether it is still wanted
_GRACE = 10.0  # seconds in which a run ends in good order
_LONGEST = 4096


class Catalog(msgspec.Struct, frozen=True):
    """A catalog as all machines must see it: its `identity`; the `folder` of bundle.yaml, which has the same path
    everywhere; and the `files` there that say what is to be built, with the SHA-256 of all together."""

    identity: str
    folder: str
    files: tuple[str, ...]
    sha256: str

    @property
    def topic(self) -> str:
        """Where its shards say something while they are built: pairs of the shard and a line. The first one is empty:
        it begins."""
        return f"c2wtasks-{self.identity}"


class Described(msgspec.Struct, frozen=True):
    """A worker: the `versions` and `rights` that decide what it makes; its host; how many CPUs a run may use there;
    the shards of the catalog that it has built before, with when (ns since 1970) it did so last; and what hinders it
    to build any, or ""."""

    versions: dict[str, str]
    rights: str
    host: str
    cpus: int
    has: dict[str, int]
    hindrance: str


class Job(msgspec.Struct, frozen=True):
    """A shard to be built, as `3/8`, by so many processes at once."""

    catalog: Catalog
    shard: str
    processes: int


class Built(msgspec.Struct, frozen=True):
    """A shard that was built, or not: the exit status of the run, the last line that it said, and its output, whose
    catalog.json has this SHA-256; "" where the run has left none."""

    status: int
    line: str
    output: str
    sha256: str


_CATALOGS = msgspec.json.Decoder(Catalog)
_JOBS = msgspec.json.Decoder(Job)


def versions() -> dict[str, str]:
    """The versions of all that may make a difference to what is built."""
    found = {name: metadata.version(name) for name in _THAT_COUNT}
    return {"python": ".".join(map(str, sys.version_info[:3])), **found}


def rights() -> str:
    """What decides who owns what is built."""
    return msgspec.json.encode((os.geteuid(), builder())).decode()


def sha256_of(folder: str, names: Sequence[str]) -> str:
    """The SHA-256 of files in a folder with their names. One that is not there has none.

    Raises OSError.
    """
    found = []
    for name in names:
        try:
            content = safely.read(os.path.join(folder, name), _MAX_SIZE)
        except FileNotFoundError:
            continue
        found.append((name, hashlib.sha256(content).hexdigest()))
    return hashlib.sha256(msgspec.json.encode(found)).hexdigest()


def sha256_of_file(path: str) -> str:
    """The SHA-256 of a file, "" where there is none."""
    try:
        return hashlib.sha256(safely.read(path, _MAX_SIZE)).hexdigest()
    except OSError:
        return ""


def describe(text: str) -> str:
    """Says what this worker is: a Catalog -> Described, both as JSON."""
    catalog = _CATALOGS.decode(text)
    folder = _folder(catalog.identity)
    try:
        found = safely.scan(folder) if safely.exists(folder) else ()
        has = {name.replace("-of-", "/"): state.st_mtime_ns for name, state in found}
        hindrance = _hindrance(catalog)
    except (OSError, OutputError) as error:
        has, hindrance = {}, f"{folder}: {os_reason(error) if isinstance(error, OSError) else error}"
    described = Described(versions(), rights(), os.uname().nodename, cpus.usable(), has, hindrance)
    return msgspec.json.encode(described).decode()


def build(text: str) -> str:
    """Builds a shard: a Job -> Built, both as JSON. It ends early where nobody waits for it any more."""
    import distributed

    job = _JOBS.decode(text)
    if hindrance := _hindrance(job.catalog):
        return msgspec.json.encode(Built(1, hindrance, "", "")).decode()
    worker = distributed.get_worker()
    key = worker.get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing" and worker.status.name == "running"

    def say(line: str) -> None:
        worker.log_event(job.catalog.topic, (job.shard, line))

    return msgspec.json.encode(_built(job, is_wanted, say)).decode()


def _built(job: Job, is_wanted: Callable[[], bool], say: Callable[[str], None]) -> Built:
    """Raises OutputError: there is no folder for it."""
    place = os.path.join(_folder(job.catalog.identity), job.shard.replace("/", "-of-"))
    output = os.path.join(place, "bundles")
    files.make_folders(place)
    command = ["run", "--db-file", os.path.join(place, "state.db"), "--locked", "-n", str(job.processes)]
    variables = {
        runoptions.SHARD: job.shard,
        "C2WTASKS_OUTPUT": output,
        "C2WTASKS_CACHE": os.path.join(place, "cache"),
        "PYTHONUNBUFFERED": "1",
    }
    last = ""
    say(last)
    with subprocess.Popen(
        [sys.executable, "-m", "c2wtasks.engine.dask.tied", str(os.getpid()), *command],
        cwd=job.catalog.folder,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        try:
            for line in _lines(run.stdout.fileno()):
                if not is_wanted():
                    break
                if line:
                    say(line)
                    last = line
            else:
                run.wait()
        finally:
            _end(run)
    safely.set_times(place, time.time_ns())
    return Built(run.returncode, last, output, sha256_of_file(os.path.join(output, CATALOG)))


def _lines(descriptor: int) -> Iterator[str]:
    """The lines that come; and "" where none comes for a while."""
    rest = b""
    while True:
        if not select.select([descriptor], [], [], _LOOKED)[0]:
            yield ""
            continue
        if not (piece := os.read(descriptor, _LONGEST)):
            break
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
        rest = rest[-_LONGEST:]
    yield rest.decode("utf-8", "replace")


def _end(run: subprocess.Popen[bytes]) -> None:
    """Ends a run that is still at work: in good order if it can."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if run.poll() is not None:
            return
        os.killpg(run.pid, number)
        try:
            run.wait(_GRACE)
        except subprocess.TimeoutExpired:
            pass


def _folder(identity: str) -> str:
    """Where the shards of a catalog are on this machine."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(os.environ.get(VARIABLE) or os.path.join(home, "c2wtasks", "shards"), identity)


def _hindrance(catalog: Catalog) -> str:
    """Why no shard of the catalog can be built here; "" where it can."""
    try:
        if sha256_of(catalog.folder, catalog.files) == catalog.sha256:
            return ""
    except OSError as error:
        return f"{error.filename}: {os_reason(error)}"
    return f"{catalog.folder} has another bundle.yaml or bundle.lock there, or none"
