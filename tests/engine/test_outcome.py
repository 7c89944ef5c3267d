"""What a run says, records and exits with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine import toys
from tests.support.running import executed, results, run_doit

PARALLEL = pytest.mark.parametrize("parallel", [[], ["-n", "2"], ["-n", "1"]], ids=["one by one", "-n 2", "-n 1"])


def break_layer(toy: Path, name: str, how: str = "bad") -> None:
    (toy / "blobs" / name).write_text(how)


@PARALLEL
def test_good_run(toy: Path, parallel: list[str]) -> None:
    first = run_doit(toy, "-r", "console", *parallel)
    assert (first.exit, first.stderr) == (0, "")
    assert sorted(first.stdout.splitlines()) == sorted(f".  {name}" for name in toys.ALL)
    second = run_doit(toy, "-r", "console", *parallel)
    assert (second.exit, second.stderr) == (0, "")
    assert sorted(second.stdout.splitlines()) == sorted(f"-- {name}" for name in toys.ALL)


@PARALLEL
def test_failing_layer_fails_its_bundles_only(toy: Path, parallel: list[str]) -> None:
    break_layer(toy, "web")
    result = run_doit(toy, "-r", "console", *parallel)
    assert result.exit == 1
    assert result.stderr == "web@linux/amd64: layer:web: layer web is \\x1b[31mbad; pull it again\n"
    assert "TaskFailed - taskid:layer:web\n" in result.stdout
    assert "pull it again" not in result.stdout
    assert "UnmetDependency" not in result.stdout
    assert "####" not in result.stdout
    assert (toy / "out/web@linux/arm64.json").exists()
    assert (toy / "out/api@linux/amd64.json").exists()
    failed = (toy / "catalog").read_text().split()
    assert failed == ["bundle", "bundle:web@linux/amd64", "layer", "layer:web", "tree", "tree:web@linux/amd64"]


@pytest.mark.parametrize("reporter", ["executed-only", "zero", "error-only", "json"])
def test_every_reporter_leaves_out_dependants(toy: Path, reporter: str) -> None:
    break_layer(toy, "base")
    result = run_doit(toy, "-r", reporter)
    assert result.exit == 1
    assert result.stderr.splitlines() == [
        f"{bundle}: layer:base: layer base is \\x1b[31mbad; pull it again"
        for bundle in ("web@linux/amd64", "web@linux/arm64", "api@linux/amd64")
    ]
    assert "Traceback" not in result.stdout
    if reporter != "json":
        assert "UnmetDependency" not in result.stdout


@PARALLEL
def test_json_report_is_all_there_is_on_stdout(toy: Path, parallel: list[str]) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write("def speak():\n    print('spoken')\ndef task_chatty():\n    return {'actions': [speak]}\n")
    break_layer(toy, "web")
    result = run_doit(toy, "-r", "json", *parallel)
    report = {task["name"]: task for task in json.loads(result.stdout)["tasks"]}
    assert report["layer:web"]["result"] == "fail"
    assert report["bundle:web@linux/amd64"]["result"] == "fail"
    assert report["bundle:api@linux/amd64"]["result"] == "success"
    assert report["chatty"]["result"] == "success"
    assert "Traceback" not in result.stdout


def test_goes_on_unless_told_not_to(toy: Path) -> None:
    break_layer(toy, "arm")
    assert results(toy, "--no-continue") == {"layer:arm": "fail"}
    assert "bundle:api@linux/amd64" in executed(toy)


@PARALLEL
def test_bug_keeps_its_trace_in_a_file_and_the_others_build(toy: Path, parallel: list[str]) -> None:
    break_layer(toy, "web", "bug")
    result = run_doit(toy, *parallel)
    assert result.exit == 1
    assert "Traceback" not in result.stdout
    (trace,) = (toy / ".doit.traces").iterdir()
    assert "Traceback (most recent call last)" in trace.read_text()
    where = f"({toy.name}/dodo.py:24); the trace is in .doit.traces/{trace.name}"  # and no fault of ours
    assert result.stderr == f"web@linux/amd64: layer:web: unexpected AssertionError: this cannot be {where}\n"
    assert (toy / "out/api@linux/amd64.json").exists()


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        ("OSError(28, 'No space left on device', 'out/x')", "out/x: No space left on device"),
        ("OSError(28, 'No space left on device')", "No space left on device"),
        ("MemoryError()", "out of memory"),
    ],
)
def test_trouble_of_the_machine_is_no_bug(toy: Path, raised: str, line: str) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(f"def write(path, text):\n    raise {raised}\n")
    result = run_doit(toy, "api")
    assert result.exit == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert result.stderr == f"api@linux/amd64: layer:base: {line}\n"


def test_lines_are_bounded_and_printable(toy: Path) -> None:
    break_layer(toy, "web")
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write("class LayerError(LayerError):\n    def __str__(self):\n        return 'x\\x07\\n' * 3000\n")
    result = run_doit(toy)
    (line,) = result.stderr.splitlines()
    assert len(line) <= 2000
    assert line.isprintable()


@pytest.mark.parametrize("kind", ["missing", "folder", "FIFO"])
@PARALLEL
def test_blob_that_is_no_file(toy: Path, kind: str, parallel: list[str]) -> None:
    blob = toy / "blobs/web"
    blob.unlink()
    why = "No such file or directory"
    if kind == "folder":
        blob.mkdir()
        why = "is a folder, where a regular file is needed"
    elif kind == "FIFO":
        os.mkfifo(blob)
        why = "is a FIFO, where a regular file is needed"
    result = run_doit(toy, *parallel)
    assert result.exit == 1
    assert result.stderr == f"web@linux/amd64: layer:web: blobs/web: {why}\n"
    assert (toy / "out/api@linux/amd64.json").exists()


def test_blob_that_comes_back_is_no_reason_to_run(toy: Path) -> None:
    executed(toy)
    (toy / "blobs/web").rename(toy / "elsewhere")
    assert results(toy)["bundle:web@linux/amd64"] == "fail"
    (toy / "elsewhere").rename(toy / "blobs/web")
    assert executed(toy) == set()


def test_dependants_of_a_mended_layer_are_still_current(toy: Path) -> None:
    executed(toy)
    break_layer(toy, "web")
    assert results(toy)["bundle:web@linux/amd64"] == "fail"
    break_layer(toy, "web", "web")
    assert executed(toy) == {"layer:web"}


def test_touched_blobs_run_nothing_and_are_hashed_once(toy: Path) -> None:
    (toy / "dodo.py").write_text(
        "from c2wtasks.disk import fingerprint\n"
        "real = fingerprint.of_file\n"
        "def counted(path):\n"
        "    with open('hashed', 'a') as log:\n"
        "        print(path, file=log)\n"
        "    return real(path)\n"
        "fingerprint.of_file = counted\n" + toys.DODO
    )
    executed(toy)
    executed(toy)  # settles the states of files that were hashed as soon as they were made
    for blob in (toy / "blobs").iterdir():
        os.utime(blob)
    time.sleep(0.03)  # the tick of the clock is over: what is recorded is taken for settled
    (toy / "hashed").unlink()
    assert executed(toy) == set()
    assert sorted((toy / "hashed").read_text().split()) == ["blobs/arm", "blobs/base", "blobs/web"]
    (toy / "hashed").unlink()
    assert executed(toy) == set()
    assert not (toy / "hashed").exists()


def test_touched_blob_is_recorded_for_tasks_left_out(toy: Path) -> None:
    executed(toy)
    os.utime(toy / "blobs/base")
    assert executed(toy, "web") == set()
    (toy / "calls").unlink()
    assert executed(toy, "api") == set()
    assert not (toy / "calls").exists()


def test_blob_replaced_under_its_old_mtime(toy: Path) -> None:
    executed(toy)
    blob = toy / "blobs/web"
    before = blob.stat()
    new = toy / "new"
    new.write_text("WEB")
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(blob)
    assert executed(toy) == {"layer:web", "tree:web@linux/amd64", "bundle:web@linux/amd64"}


def test_equal_bytes_stop_there(toy: Path) -> None:
    executed(toy)
    (toy / "out/web.idx").unlink()
    assert executed(toy) == {"layer:web"}


@pytest.mark.parametrize("edit", ["longer than before", "API@linux/amd64", None])
def test_edited_or_deleted_target_is_made_again(toy: Path, edit: str | None) -> None:
    executed(toy)
    target = toy / "out/api@linux/amd64.json"
    if edit is None:
        target.unlink()
    else:
        target.write_text(edit)
    assert executed(toy) == {"bundle:api@linux/amd64"}
    assert target.read_text() == "api@linux/amd64"
    assert executed(toy) == set()


def test_always(toy: Path) -> None:
    executed(toy)
    assert executed(toy, "-a") == toys.ALL


def test_report_in_a_file(toy: Path) -> None:
    result = run_doit(toy, "-r", "console", "-o", "report", "api")
    assert (result.exit, result.stdout, result.stderr) == (0, "", "")
    assert (toy / "report").read_text() == ".  layer:base\n.  tree:api@linux/amd64\n.  bundle:api@linux/amd64\n"
    result = run_doit(toy, "-o", "no/folder", "api")
    assert (result.exit, result.stderr) == (3, "ERROR: no/folder: cannot be written: No such file or directory\n")


def test_another_state_file_and_a_dodo_further_up(toy: Path) -> None:
    (toy / "sub").mkdir()
    assert executed(toy / "sub", "--seek-file", "--db-file", "other.db") == toys.ALL
    assert (toy / "other.db").exists()
    assert not (toy / ".doit.db").exists()
    assert executed(toy, "--db-file", "other.db") == set()


def test_verbosity_shows_what_actions_print(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write("def speak():\n    print('spoken')\ndef task_speak():\n    return {'actions': [speak]}\n")
    for parallel in ([], ["-n", "2"]):
        assert "spoken\n" in run_doit(toy, "-v2", *parallel, "speak").stdout
    assert "spoken" not in run_doit(toy, "speak").stdout


def test_output_of_a_failed_command_is_shown(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write("def task_cmd():\n    return {'actions': ['echo said; exit 3']}\n")
    result = run_doit(toy, "cmd")
    assert result.exit == 1
    assert "returned 3" in result.stdout
    assert "cmd <stdout>:\nsaid\n" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("-n -1", "-n -1: the number of tasks to run at once cannot be negative"),
        ("-n 2 -P bogus", "-P bogus: tasks run in threads"),
        (
            "--check_file_uptodate=md5",
            "check_file_uptodate cannot be chosen here: files are always compared by content",
        ),
    ],
)
def test_wrong_options(toy: Path, args: str, message: str) -> None:
    result = run_doit(toy, *args.split())
    assert (result.exit, result.stdout, result.stderr) == (3, "", f"ERROR: {message}\n")


def test_processes_become_threads(toy: Path) -> None:
    result = run_doit(toy, "-n", "2", "-P", "process", "api")
    assert (result.exit, result.stderr) == (0, "note: heavy steps run in processes anyway, all else in threads\n")


def test_what_goes_wrong_at_the_end_is_one_line(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(
            "from c2wtasks.errors import OutputError\n"
            "def end_of_run(failed, current):\n    raise OutputError('catalog.json: cannot be written')\n"
            "HOOKS.end_of_run = end_of_run\n"
        )
    result = run_doit(toy)
    assert (result.exit, result.stderr) == (1, "catalog.json: cannot be written\n")
    assert executed(toy) == set()


def test_nobody_reads_the_report(toy: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nowhere:
        done = subprocess.run(
            [sys.executable, "-m", "doit"], cwd=toy, stdout=nowhere, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert executed(toy) == set()


def test_clean_forget_list_and_info_as_in_doit(toy: Path) -> None:
    executed(toy)
    assert run_doit(toy, "list", "-s", "--all").stdout.count("U ") == len(toys.ALL)
    assert run_doit(toy, "info", "bundle:api@linux/amd64").exit == 0
    assert run_doit(toy, "clean", "bundle:web@*").exit == 0
    assert sorted(path.name for path in (toy / "out").rglob("*.json")) == ["amd64.json"]
    assert executed(toy) == {"bundle:web@linux/amd64", "bundle:web@linux/arm64"}
    assert run_doit(toy, "forget", "tree").exit == 0
    assert len(executed(toy)) == 3
