"""A catalog that a Dask cluster builds is what one machine makes, whatever dies meanwhile."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.engine.block import Line
from c2wtasks.engine.dask import job
from c2wtasks.engine.dask.following import Followed, _Drawing
from c2wtasks.engine.dask.job import Catalog, Described
from c2wtasks.engine.dask.placing import placed
from tests.commands.test_merge import contents, is_whole, published
from tests.engine.test_screen import check_whole, terminal
from tests.graph.catalogs import small_catalog, write_catalog
from tests.soak.crashes import processes_in
from tests.support.cluster import GIVES_UP, IMPATIENT, SOON, Cluster, eventually
from tests.support.disks import NEEDS_ROOT
from tests.support.hooking import hooked
from tests.support.running import run_doit

TALK = """
import sys
from c2wtasks.engine.dask import cluster
from c2wtasks.engine.dask.job import Catalog, Job
cluster._PATIENCE = 2
with cluster.Cluster(sys.argv[1]) as at_work:
    (worker,) = at_work.threads()
    print(1, flush=True)
    sys.stdin.readline()
    print(list(at_work.built({"1/2": Job(Catalog("0" * 32, "/nowhere", (), ""), "1/2", 1)}, {"1/2": worker})))
"""


# -- what it makes


def test_a_cluster_to_try(tmp_path: Path, one: Path) -> None:
    small_catalog(tmp_path)
    env = {"C2WTASKS_SHARDS": str(tmp_path / "shards")}
    run = run_doit(tmp_path, "spread", "--local", "2", env=env)
    assert (run.exit, run.stderr) == (0, "")
    assert run.stdout.splitlines()[-1] == "3 merged, 0 current"
    assert len(re.findall(r"^[12]/2  built +(?:db|other|web)@linux/amd64 ", run.stdout, re.MULTILINE)) == 3
    is_whole(tmp_path, one)
    again = run_doit(tmp_path, "spread", "--local", "2", env=env)
    assert (again.exit, again.stdout.splitlines()[-1]) == (0, "0 merged, 3 current")
    assert "built" not in again.stdout
    assert run_doit(tmp_path, "verify").exit == 0
    runs = json.loads(run_doit(tmp_path, "history", "--json").stdout)
    assert "spread" in json.dumps(runs)


def test_a_worker_of_a_cluster_to_try_dies(bare: Cluster, one: Path) -> None:
    bare.write()
    bare.hold(1)
    bare.env = {"C2WTASKS_SHARDS": str(bare.folder / "shards")}
    spreading = bare.spreading("--local", "2")
    eventually(lambda: bare.began(1) and bare.began(2))
    os.kill(int(Path(f"/proc/{bare.began(1)[0]}/stat").read_text().split()[3]), signal.SIGKILL)
    eventually(lambda: len(bare.began(1)) == 2, "nobody takes its shard")
    bare.hold(1, on=False)
    run = bare.ended(spreading)
    assert (run.exit, run.stderr) == (0, "shard 1/2: its worker has died\n")
    is_whole(bare.catalog, one)


def test_shards_stay_where_they_were_built(cluster: Cluster, one: Path) -> None:
    assert cluster.spread().exit == 0
    is_whole(cluster.catalog, one)
    cluster.worker("w0")
    eventually(lambda: cluster.is_registered("w0"))
    again = cluster.spread()
    assert (again.exit, again.stdout.splitlines()[-1]) == (0, "0 merged, 3 current")
    assert "built" not in again.stdout
    assert not (cluster.folder / "w0").exists()


def test_a_bundle_that_fails_there_fails_here(cluster: Cluster) -> None:
    blobs = cluster.catalog / "other/blobs/sha256"
    largest = max(blobs.iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"x" * largest.stat().st_size)
    run = cluster.spread()
    assert run.exit == 1
    assert run.stdout.splitlines()[-1] == "2 merged, 0 current, 1 failed"
    assert "other@linux/amd64: " in run.stdout.splitlines()[-2]


def test_two_catalogs_on_one_cluster(cluster: Cluster, one: Path, tmp_path: Path) -> None:
    """Each hears of its own shards alone."""
    second = replace(cluster, catalog=tmp_path / "second")
    second.catalog.mkdir()
    small_catalog(second.catalog)
    second.write()
    cluster.hold(1)
    spreading = cluster.spreading()
    eventually(lambda: cluster.began(1) and published(cluster.catalog))
    runs = [second.spread()]
    cluster.hold(1, on=False)
    runs.append(cluster.ended(spreading))
    for run in runs:
        assert (run.exit, run.stderr) == (0, "")
        assert len(re.findall(r"^[12]/2  built +(?:db|other|web)@linux/amd64 ", run.stdout, re.MULTILINE)) == 3, run
    for each in (cluster, second):
        is_whole(each.catalog, one)


# -- what dies


def test_a_worker_that_dies_loses_nothing(cluster: Cluster, one: Path) -> None:
    cluster.hold(1)
    spreading = cluster.spreading()
    eventually(lambda: cluster.began(1) and cluster.began(2))
    [victim] = [name for name in ("w1", "w2") if list((cluster.folder / name).glob("*/1-of-2"))]
    cluster.kill(victim)
    eventually(lambda: not Path(f"/proc/{cluster.began(1)[0]}").exists(), "its run goes on without it")
    cluster.hold(1, on=False)
    run = cluster.ended(spreading)
    assert (run.exit, run.stderr) == (0, "shard 1/2: its worker has died\n")
    assert run.stdout.splitlines()[-1] == "3 merged, 0 current"
    assert len(cluster.began(2)) == 1, "what was done is not done again"
    is_whole(cluster.catalog, one)


def test_a_worker_that_stands_still_is_given_up(bare: Cluster, one: Path) -> None:
    bare.env = GIVES_UP
    bare.begin("w1", "w2")
    bare.hold(1)
    spreading = bare.spreading()
    eventually(lambda: bare.began(1) and bare.began(2))
    [victim] = [name for name in ("w1", "w2") if list((bare.folder / name).glob("*/1-of-2"))]
    bare.processes[victim].send_signal(signal.SIGSTOP)
    eventually(lambda: len(bare.began(1)) == 2, "nobody takes its shard")
    bare.hold(1, on=False)
    run = bare.ended(spreading)
    assert (run.exit, run.stderr) == (0, "shard 1/2: its worker has died\n")
    is_whole(bare.catalog, one)


def test_all_workers_die(cluster: Cluster) -> None:
    cluster.hook = IMPATIENT
    assert cluster.spread().exit == 0
    images = json.loads((cluster.catalog / "bundle.yaml").read_text())["images"]
    for image in images.values():
        image["process"] = {"args": ["other"]}
    (cluster.catalog / "bundle.yaml").write_text(json.dumps({"platforms": ["linux/amd64"], "images": images}))
    cluster.write()
    cluster.hold(1)
    before = contents(cluster.catalog)
    spreading = cluster.spreading()
    eventually(lambda: contents(cluster.catalog) != before, "nothing of the other shard comes here")
    cluster.kill("w1", "w2")
    run = cluster.ended(spreading)
    assert run.exit == 1
    lost = re.findall(r"^(\w+)@linux/amd64: shard 1/2 was lost: the cluster has no workers", run.stdout, re.MULTILINE)
    assert lost, run
    after = contents(cluster.catalog)
    assert {name: after[name] for name in before if name.split("/")[0] in lost} == {
        name: content for name, content in before.items() if name.split("/")[0] in lost
    }, "the last good ones stay"
    eventually(cluster.is_quiet)


def test_the_last_worker_dies_before_it_gets_anything(bare: Cluster) -> None:
    """Dask keeps what nobody can begin with for ever."""
    bare.scheduler()
    bare.worker("w1")
    eventually(lambda: bare.is_registered("w1"))
    talk = subprocess.Popen(
        [sys.executable, "-c", TALK, bare.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert talk.stdin is not None and talk.stdout is not None
    assert talk.stdout.readline() == "1\n"
    bare.kill("w1")
    said, _ = talk.communicate("go on\n", timeout=SOON)
    assert said == "[('1/2', 'the cluster has no workers')]\n"


def test_the_scheduler_dies(cluster: Cluster, one: Path) -> None:
    cluster.hold(1)
    spreading = cluster.spreading()
    eventually(lambda: cluster.began(1) and cluster.began(2))
    eventually(lambda: published(cluster.catalog))
    cluster.kill("scheduler", "w1", "w2")
    cluster.scheduler()
    cluster.worker("w1")
    cluster.worker("w2")
    cluster.hold(1, on=False)
    run = cluster.ended(spreading)
    assert run.exit == 0, run
    assert "shard 1/2: the scheduler is gone\n" in run.stderr
    is_whole(cluster.catalog, one)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_command_ends_early(cluster: Cluster, one: Path, number: signal.Signals) -> None:
    cluster.hold(1)
    spreading = cluster.spreading()
    eventually(lambda: cluster.began(1))
    spreading.send_signal(number)
    run = cluster.ended(spreading)
    if number != signal.SIGKILL:
        assert run.exit == 128 + number
        assert len(run.stderr.splitlines()) == 1, run.stderr
    eventually(cluster.is_quiet, lambda: processes_in(cluster.catalog))
    cluster.hold(1, on=False)
    assert cluster.spread().exit == 0
    is_whole(cluster.catalog, one)


# -- what a terminal shows


def test_all_shards_are_in_one_block(cluster: Cluster, one: Path) -> None:
    cluster.hold(1)
    with terminal(cluster.catalog, 100, 24, "spread") as run:
        counted = re.compile(r"[12]/3  \d+:\d\d$")  # of the shard that is done; the other one waits
        run.wait_for(lambda lines: lines[-1:] != [] and any(map(counted.match, lines)))
        run.wait_for(lambda lines: any(re.match(r"  1/2 +\d+\.\d s$", line) for line in lines))
        [victim] = [name for name in ("w1", "w2") if list((cluster.folder / name).glob("*/1-of-2"))]
        cluster.kill(victim)
        run.wait_for(lambda lines: "shard 1/2: its worker has died" in lines)
        assert any(map(counted.match, run.lines())), "it goes on below"
        cluster.hold(1, on=False)
        lines = run.end()
    assert (run.process.returncode, lines[-1]) == (0, "3 merged, 0 current")
    assert len([line for line in lines if re.match(r"[12]/2  built +\S+@linux/amd64 ", line)]) == 3
    assert not any(re.match(r"  \d/\d |[0-3]/3 ", line) for line in lines), lines
    check_whole(run, lines)
    is_whole(cluster.catalog, one)


def test_how_far_shards_are() -> None:
    followed = Followed({"1/2": 2, "2/2": 3})
    assert not followed.heard("1/2", "")
    assert followed.heard("1/2", "built    web@linux/amd64  0.1 s")
    assert not followed.heard("1/2", "working  layer 0123 (reading 1 MB of 2 MB)")
    assert followed.heard("2/2", "failed   db@linux/amd64  no such file")
    now = time.monotonic()
    view = followed.view(now)
    assert (view.done, view.wanted) == (2, 5)
    assert [title for title, _, _ in view.at_work] == [
        "1/2  layer 0123 (reading 1 MB of 2 MB)",
        "2/2  failed db@linux/amd64 no such file",
    ]
    followed.ended("1/2", lost=True)
    assert followed.view(now).done == 1, "who takes it tells all of it again"
    followed.heard("1/2", "")
    followed.ended("1/2", lost=False)  # the other bundle was current
    view = followed.view(now)
    assert (view.done, len(view.at_work)) == (3, 1)


def test_a_block_is_drawn_while_a_line_comes() -> None:
    """They come in one thread, and are drawn in another."""
    followed = Followed({"1/2": 1})

    class Told(str):
        def partition(self, sign: str) -> tuple[str, str, str]:
            assert [title for title, _, _ in followed.view(time.monotonic()).at_work] == ["1/2"]
            return super().partition(sign)

    assert followed.heard("1/2", Told("built    web@linux/amd64  0.1 s"))


def test_a_line_that_comes_as_the_block_ends_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    drawing = _Drawing(shown, Followed({"1/2": 1}))
    usual = drawing._moving.put

    def put(above: str, block: list[Line]) -> None:
        usual(above, block)
        if not block and "late" not in above:
            drawing.heard("1/2", "late")

    monkeypatch.setattr(drawing._moving, "put", put)
    drawing.start()
    drawing.end()
    assert "1/2  late" in shown.getvalue()


# -- what does not fit


def test_a_worker_with_another_version_builds_nothing(bare: Cluster, tmp_path: Path) -> None:
    other = (
        "import importlib.metadata as _m\n_usual = _m.version\n"
        "_m.version = lambda name: '0.0.1' if name == 'xxhash' else _usual(name)\n"
    )
    bare.scheduler()
    bare.worker("w1", hooked(tmp_path / "hook", other))
    bare.write()
    run = bare.spread()
    assert (run.exit, run.stdout) == (3, "")
    assert re.fullmatch(
        r".*worker tcp://127\.0\.0\.1:\d+: xxhash 0\.0\.1 where this machine has \S+; "
        r"install the same versions there\n",
        run.stderr,
    )
    assert not bare.began(1)


@NEEDS_ROOT
def test_a_worker_of_another_user_builds_nothing(bare: Cluster) -> None:
    bare.scheduler()
    bare.worker("w1", before=("setpriv", "--bounding-set=-chown", "--inh-caps=-chown"))
    bare.write()
    run = bare.spread()
    assert (run.exit, run.stdout) == (3, "")
    assert "is another user there, or may do other things with files" in run.stderr


@NEEDS_ROOT
def test_an_output_that_is_not_to_be_seen_here(bare: Cluster) -> None:
    (bare.folder / "w1").mkdir()
    mounting = f'mount -t tmpfs none {bare.folder}/w1 && exec "$@"'
    bare.scheduler()
    bare.worker("w1", before=("unshare", "--mount", "sh", "-c", mounting, "sh"))
    bare.write()
    run = bare.spread()
    assert run.exit == 1
    assert run.stdout.splitlines()[-1] == "0 merged, 0 current, 3 failed"
    assert re.search(
        r"^web@linux/amd64: shard 2/2: its output /\S+ is not to be seen here$", run.stdout, re.MULTILINE
    )


def test_a_folder_with_another_bundle_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(job.VARIABLE, str(tmp_path / "shards"))
    (tmp_path / "bundle.yaml").write_text("images: {}\n")
    names = ("bundle.yaml", "bundle.lock")
    right = Catalog("0" * 32, str(tmp_path), names, job.sha256_of(str(tmp_path), names))

    def hindrance(catalog: Catalog) -> str:
        text = job.describe(msgspec.json.encode(catalog).decode())
        return msgspec.json.Decoder(Described).decode(text).hindrance

    assert hindrance(right) == ""
    (tmp_path / "bundle.lock").write_text("")
    assert hindrance(right) == f"{tmp_path} has another bundle.yaml or bundle.lock there, or none"
    gone = msgspec.structs.replace(right, folder=str(tmp_path / "gone"))
    assert "gone" in hindrance(gone)


def test_nobody_is_there(bare: Cluster) -> None:
    bare.hook = IMPATIENT
    bare.write()
    run = bare.spread()
    assert (run.exit, run.stdout) == (1, "")
    assert re.fullmatch(rf"{bare.address}: no scheduler answers there: .*\n", run.stderr)


def test_by_tls_without_certificates(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    write_catalog(tmp_path, images, engine={"dask": "tls://127.0.0.1:1"})
    run = run_doit(tmp_path, "spread")
    assert (run.exit, run.stdout) == (1, "")
    assert run.stderr.endswith(
        "; name the certificates, as Dask takes them: DASK_DISTRIBUTED__COMM__TLS__CA_FILE and others\n"
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "bundle.yaml names no cluster; write e.g. engine: {dask: 'tls://HOST:8786'}, or give --local 2"),
        (("web",), "'web': this command takes options only; all bundles are built"),
    ],
)
def test_refused(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    small_catalog(tmp_path)
    run = run_doit(tmp_path, "spread", *args)
    assert (run.exit, run.stdout) == (3, "")
    assert said in run.stderr


def test_dask_is_not_installed(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    missing = "import sys\nsys.modules['distributed'] = None\n"
    run = run_doit(tmp_path, "spread", "--local", "2", env=hooked(tmp_path / "hook", missing))
    assert (run.exit, run.stdout, run.stderr) == (1, "", "Dask is not installed; pip install 'c2wtasks[dask]'\n")


def test_by_tls(bare: Cluster, one: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    tls = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(certificate)}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        tls[f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT"] = str(certificate)
        tls[f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY"] = str(key)
    bare.protocol, bare.env = "tls", tls
    bare.scheduler()
    bare.worker("w1")
    bare.write()
    run = bare.spread()
    assert (run.exit, run.stderr) == (0, "")
    is_whole(bare.catalog, one)
    stranger = run_doit(bare.catalog, "spread", env=dict.fromkeys(tls, ""))
    assert stranger.exit == 1
    assert len(stranger.stderr.splitlines()) == 1, stranger.stderr


# -- where shards go


def _is_alone(shard: str, worker: str, has: dict[str, dict[str, int]]) -> bool:
    return not any(shard in has[other] for other in has.keys() - {worker})


SHARDS = [f"{number}/9" for number in range(1, 10)]


@given(
    st.dictionaries(st.sampled_from(SHARDS), st.integers(0, 100), min_size=1),
    st.dictionaries(st.sampled_from("abcd"), st.dictionaries(st.sampled_from(SHARDS), st.integers(1, 9)), min_size=1),
)
def test_placing(sizes: dict[str, int], has: dict[str, dict[str, int]]) -> None:
    found = placed(sizes, has)
    assert found.keys() == sizes.keys()
    assert set(found.values()) <= has.keys()
    most = -(-len(sizes) // len(has))
    for worker, known in has.items():
        kept = [shard for shard in known.keys() & sizes.keys() if found[shard] == worker]
        alone = [shard for shard in known.keys() & sizes.keys() if _is_alone(shard, worker, has)]
        assert len(kept) >= min(most, len(alone)), "what is done somewhere stays there"
    assert placed(sizes, dict(reversed(has.items()))) == found
