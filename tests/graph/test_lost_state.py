"""doit's memory is lost or cannot be used: bundles that prove themselves by what is on disk are not made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.graph.catalogs import families, small_catalog, write_catalog
from tests.support import roots
from tests.support.hooking import READINGS, hooked
from tests.support.images import DockerSave, pack
from tests.support.published import OF_RUNS
from tests.support.running import executed, run_doit

WEB = "web@linux/amd64"
AT = "bundles/web/linux-amd64"
ALL_OF_WEB = {f"tree:{WEB}", f"rootfs:{WEB}:dir", f"spec:{WEB}", f"boot:{WEB}", f"bundle:{WEB}"}
CHEAP = {"layer", "catalog"}
"""They look at receipts, and write nothing that is there."""


@pytest.fixture
def built(tmp_path: Path) -> Path:
    small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    return tmp_path


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:3000] = bytes(2900)
    path.write_bytes(content)


LOSSES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "deleted": (Path.unlink, None),
    "no database": (lambda path: path.write_bytes(b"not a database, but long enough"), "file is not a database"),
    "damaged": (flipped, ""),
}


@pytest.mark.parametrize(("lose", "said"), LOSSES.values(), ids=LOSSES)
def test_nothing_is_made_again(built: Path, lose: Callable[[Path], object], said: str | None) -> None:
    before = (built / AT).stat(), published(built)
    lose(built / ".doit.db")
    env = hooked(built / "hook", READINGS, READINGS=str(built / "readings"))
    run = run_doit(built, "-r", "console", env=env)
    assert run.exit == 0
    if said is None:
        assert run.stderr == ""
    else:
        assert run.stderr.startswith(f"warning: .doit.db cannot be used ({said}")
        assert run.stderr.endswith("); moved to .doit.db.unusable, and all is checked anew\n")
        assert run.stderr.count("\n") == 1
        assert (built / ".doit.db.unusable").exists()
    assert [line for line in run.stdout.splitlines() if line.startswith(".")] == [".  catalog"]
    assert (built / "readings").read_text() == ""
    after = (built / AT).stat(), published(built)
    assert before[0].st_ino == after[0].st_ino
    assert before[1] == after[1]
    assert executed(built) == set()


def published(folder: Path) -> list[str]:
    """All in the output folder, but for what runs did."""
    of_runs = tuple(OF_RUNS - {".parts"})
    return [line for line in roots.of_folder(str(folder / "bundles")) if not line.startswith(of_runs)]


def test_the_tasks_that_run(built: Path) -> None:
    (built / ".doit.db").unlink()
    assert executed(built) == {"catalog"}


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))


DOUBTS: dict[str, Callable[[Path], object]] = {
    "spec.json was edited": lambda folder: edit(folder / AT / "spec.json"),
    "bundle.json was edited": lambda folder: edit(folder / AT / "bundle.json"),
    "a part was edited": lambda folder: edit(folder / "bundles/.parts/web/linux-amd64/image.json"),
    "a part is gone": lambda folder: (folder / "bundles/.parts/web/linux-amd64/tree").unlink(),
    "nothing is noted": lambda folder: (folder / "bundles/.parts/web/linux-amd64/standing").unlink(),
    "the facts file is gone": lambda folder: (folder / "bundles/.parts/web/linux-amd64/rootfs.json").unlink(),
    "something was put in": lambda folder: (folder / AT / "stray").touch(),
    "an option changed": lambda folder: write_catalog(
        folder,
        {name: {"source": f"oci:{name}"} for name in ("db", "other")}
        | {"web": {"source": "oci:web", "process": {"terminal": False}}},
    ),
}


@pytest.mark.parametrize("change", DOUBTS.values(), ids=DOUBTS)
def test_what_is_in_doubt_is_made_again(built: Path, change: Callable[[Path], object]) -> None:
    (built / ".doit.db").unlink()
    change(built)
    assert families(executed(built)) - CHEAP == ALL_OF_WEB
    assert executed(built) == set()
    assert run_doit(built, "verify").exit == 0


def test_an_evicted_cache_and_a_lost_state(built: Path) -> None:
    (built / ".doit.db").unlink()
    for path in built.glob("cache/layers/receipts/sha256/*"):
        path.unlink()
    assert run_doit(built).exit == 0
    assert executed(built) == set()


def test_a_lost_cache_and_a_lost_state(built: Path) -> None:
    """As on a machine that keeps the output alone."""
    before = (built / AT).stat()
    (built / ".doit.db").unlink()
    shutil.rmtree(built / "cache")
    assert families(executed(built)) == {
        "layer",
        "catalog",
        *(f"tree:{name}@linux/amd64" for name in ("web", "db", "other")),
    }
    assert (built / AT).stat().st_ino == before.st_ino
    assert executed(built) == set()


def test_what_is_forgotten_on_purpose_is_made_again(built: Path) -> None:
    assert run_doit(built, "forget", "--all").exit == 0
    assert families(executed(built)) > ALL_OF_WEB


def test_why_and_plan_say_the_same_and_write_nothing(built: Path) -> None:
    (built / ".doit.db").unlink()
    said = run_doit(built, "why").stdout
    plan = run_doit(built, "plan").stdout
    assert said == "catalog: never built\n"
    assert plan.splitlines()[1:] == ["1 task, 0 bytes of layers to read, about 0 bytes to write"]
    assert not (built / ".doit.db").exists()
    (built / AT / "stray").touch()
    assert WEB in run_doit(built, "why").stdout


def test_older_docker_archives(tmp_path: Path) -> None:
    DockerSave(tmp_path / "saved").image({"srv/index": "web\n"})
    pack(tmp_path / "saved", tmp_path / "web.tar")
    write_catalog(tmp_path, {"web": {"source": "docker-archive:web.tar"}})
    assert run_doit(tmp_path).exit == 0
    os.unlink(tmp_path / ".doit.db")
    assert families(executed(tmp_path)) <= CHEAP
