"""Whatever lies on the way to a file, whoever moves it meanwhile: nothing elsewhere is read, written or removed."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from c2wtasks.disk import keeping, removing, safely
from tests.rootfs.making import needs_root
from tests.support import ways


@pytest.fixture(params=ways.WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to open: with `openat2`, and where the kernel lacks it."""
    ways.take(request.param, monkeypatch)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`ours/sub/file`, beside `canary/secret`, which nobody may touch."""
    (tmp_path / "ours/sub").mkdir(parents=True)
    (tmp_path / "ours/sub/file").write_text("content")
    (tmp_path / "canary/sub").mkdir(parents=True)
    for secret in ("canary/secret", "canary/file", "canary/sub/file"):
        (tmp_path / secret).write_text("secret")
    for folder in ("", "ours", "ours/sub"):
        (tmp_path / folder).chmod(0o777)  # so others may have put there what is there
    monkeypatch.chdir(tmp_path)
    return tmp_path


def canary(place: Path) -> dict[str, tuple[bytes, int, int]]:
    found = {path: path.lstat() for path in (place / "canary").rglob("*")}
    return {
        str(path): (path.read_bytes() if path.is_file() else b"", state.st_mtime_ns, state.st_mode)
        for path, state in found.items()
    }


@pytest.mark.parametrize("path", ["ours/sub/file", "./ours//sub/file", "{}/ours/sub/file"])
def test_a_file_is_read(place: Path, way: None, path: str) -> None:
    assert safely.read(path.format(place), 7) == b"content"
    with pytest.raises(OSError, match="longer than 6 bytes"):
        safely.read(path.format(place), 6)


def link_last_of(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def link_last(place: Path) -> None:
    link_last_of(place / "ours/sub/file", place / "canary/secret")


def link_above(place: Path) -> None:
    shutil.rmtree(place / "ours/sub")
    (place / "ours/sub").symlink_to(place / "canary")


def link_top(place: Path) -> None:
    shutil.rmtree(place / "ours")
    (place / "ours").symlink_to("canary")


LINKS = [link_last, link_above, link_top]


@pytest.mark.parametrize("plant", LINKS)
def test_no_link_is_followed(place: Path, way: None, plant: object) -> None:
    assert callable(plant)
    plant(place)
    before = canary(place)
    for attempt in (
        lambda: safely.read("ours/sub/file", 100),
        lambda: os.close(safely.open_file("ours/sub/file", os.O_RDWR | os.O_CREAT)),
    ):
        with pytest.raises(OSError) as raised:
            attempt()
        assert raised.value.errno in (errno.ELOOP, errno.ENOTDIR)
    (place / "mine").write_text("mine")
    for attempt in (
        lambda: safely.rename("mine", "ours/sub/file"),
        lambda: safely.link("ours/sub/file", "other"),
        lambda: safely.unlink("ours/sub/file"),
        lambda: removing.remove_tree("ours/sub/file"),
        lambda: removing.remove_tree("ours/sub"),
        lambda: removing.remove_tree("ours"),
    ):
        try:
            attempt()
        except OSError as error:
            assert error.errno in (errno.ELOOP, errno.ENOTDIR)
        assert canary(place) == before


@pytest.mark.parametrize("plant", [link_above, link_top])
def test_a_link_of_our_own_is_followed_but_at_the_end(place: Path, way: None, plant: object) -> None:
    assert callable(plant)
    plant(place)
    for folder in ("", "ours"):
        (place / folder).chmod(0o755)
    assert safely.read("ours/sub/file", 100) == b"secret"
    removing.remove_tree("ours/sub/file")
    assert not (place / "ours/sub/file").exists()
    link_last_of(place / "ours/sub/file", place / "canary/secret")
    with pytest.raises(OSError):
        safely.read("ours/sub/file", 100)


@needs_root
@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_link_of_another_user_is_not_followed(place: Path, way: None, kind: str) -> None:
    link_above(place)
    for folder in ("", "ours"):
        (place / folder).chmod(0o755)
    os.chown(place / ("ours/sub" if kind == "link" else "ours"), 1000, 1000, follow_symlinks=False)
    with pytest.raises(OSError):
        safely.read("ours/sub/file", 100)


def test_links_that_lead_in_a_circle(place: Path, way: None) -> None:
    link_last_of(place / "round", place / "round/again")
    place.chmod(0o755)
    with pytest.raises(OSError):
        safely.read("round/file", 100)


@pytest.mark.parametrize("kind", ["folder", "FIFO", "socket", "device"])
def test_only_regular_files_are_opened(place: Path, way: None, kind: str) -> None:
    path = place / "ours/odd"
    match kind:
        case "folder":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
        case "socket":
            socket.socket(socket.AF_UNIX).bind("ours/odd")
        case "device":
            if os.geteuid() != 0:
                pytest.skip("only root makes devices")
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero, which never ends
    with pytest.raises(OSError) as raised:
        safely.read("ours/odd", 100)
    assert kind == "socket" or kind in str(raised.value)


def deep(top: Path, depth: int) -> None:
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_a_tree_is_removed_however_deep(place: Path, way: None) -> None:
    deep(place / "ours", 3000)
    os.chmod(place / "ours/sub", 0o555)
    removing.remove_tree("ours")
    assert not (place / "ours").exists()
    removing.remove_tree("ours")


def test_what_lies_behind_links_stays(place: Path, way: None) -> None:
    before = canary(place)
    (place / "ours/to-folder").symlink_to(place / "canary")
    (place / "ours/sub/to-file").symlink_to(place / "canary/secret")
    removing.remove_tree("ours")
    assert not (place / "ours").exists()
    assert canary(place) == before


def test_what_is_mounted_stays(place: Path, way: None) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place / "ours/sub"], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        (place / "ours/sub/precious").write_text("precious")
        with pytest.raises(OSError, match="mounted"):
            removing.remove_tree("ours")
        assert (place / "ours/sub/precious").read_text() == "precious"
    finally:
        subprocess.run(["umount", place / "ours/sub"], check=True)


@pytest.fixture
def swapping(place: Path) -> Iterator[None]:
    """An attacker's process, which swaps `ours/sub` with a link to the canary as fast as it can."""
    swapper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os\nos.symlink(os.path.abspath('canary'), 'ours/link')\nprint(flush=True)\n"
            "import ctypes\nrenameat2 = ctypes.CDLL(None).renameat2\n"
            "while True: renameat2(-100, b'ours/sub', -100, b'ours/link', 2)",
        ],
        stdout=subprocess.PIPE,
        cwd=place,
    )
    assert swapper.stdout is not None
    swapper.stdout.readline()
    yield
    swapper.kill()
    swapper.wait()
    swapper.stdout.close()


def test_an_attacker_swaps_a_folder_with_a_link(place: Path, way: None, swapping: None) -> None:
    before = canary(place)
    rounds = int(os.environ.get("C2WTASKS_RACE_ROUNDS", "200"))
    met = set()
    for _ in range(rounds):
        try:
            met.add(safely.read("ours/sub/file", 100))
            os.close(safely.open_file("ours/sub/new", os.O_WRONLY | os.O_CREAT))
            safely.rename("ours/sub/new", "ours/sub/secret")
            safely.unlink("ours/sub/secret")
        except OSError:
            pass
        assert canary(place) == before
    assert met <= {b"content"}


@pytest.mark.parametrize("descriptors", [8, 1024], ids=["few descriptors", "many"])
def test_an_attacker_moves_what_is_being_removed(
    place: Path, way: None, monkeypatch: pytest.MonkeyPatch, descriptors: int
) -> None:
    """The folder that is emptied is moved beside one of root's that has the name of the next on the list."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    before = canary(place)
    for name in ("a/x", "b/x", "sub/x"):
        (place / "ours/deep" / name).mkdir(parents=True)
        (place / "ours/deep" / name / "file").touch()
    inner = removing._unlink_files

    def moving(folder: int) -> list[str]:
        found = inner(folder)
        at = Path(os.readlink(f"/proc/self/fd/{folder}"))
        if at.name == "x" and at.is_relative_to(place / "ours"):
            os.rename(at.parent, place / "canary" / f"moved-{at.parent.name}")
        return found

    monkeypatch.setattr(removing, "_unlink_files", moving)
    refused = pytest.raises(OSError, match="somebody moves") if descriptors == 8 else nullcontext()
    with refused:  # it goes on only where all folders on the way up are still open
        removing.remove_tree("ours")
    monkeypatch.undo()
    for moved in (place / "canary").glob("moved-*"):
        shutil.rmtree(moved)
    after = canary(place)
    assert after.keys() == before.keys()
    assert {path: state[0] for path, state in after.items()} == {path: state[0] for path, state in before.items()}


def test_what_is_kept_to_stays_the_same_folder(place: Path, way: None) -> None:
    keeping.keep_to("ours")
    try:
        (place / "ours").rename(place / "moved")
        (place / "canary").rename(place / "ours")
        assert safely.read("ours/sub/file", 100) == b"content"
        safely.unlink("ours/sub/file")
        assert not (place / "moved/sub/file").exists()
        assert (place / "ours/sub/file").read_text() == "secret"
        (place / "moved/link").symlink_to("sub")
        (place / "moved").chmod(0o755)  # so the link is our own
        with pytest.raises(OSError, match="a symbolic link lies there"):
            safely.names("ours/link")
    finally:
        keeping.keep_to_none()
    assert safely.read("ours/sub/file", 100) == b"secret"


@needs_root
def test_files_of_others_in_what_is_kept_to(place: Path, way: None) -> None:
    (place / "ours/theirs").write_text("x")
    os.chown(place / "ours/theirs", 1000, 1000)
    (place / "theirs").write_text("x")
    os.chown(place / "theirs", 1000, 1000)
    keeping.keep_to("ours", frozenset((0,)))
    try:
        assert safely.read("ours/sub/file", 100) == b"content"
        assert safely.read("theirs", 100) == b"x"
        with pytest.raises(PermissionError, match="another user"):
            safely.read("ours/theirs", 100)
    finally:
        keeping.keep_to_none()


def test_what_could_not_be_looked_at_is_not_reached_later(place: Path, way: None) -> None:
    with pytest.raises(OSError) as raised:
        keeping.keep_to("late")
    keeping.keep_out_of("late", raised.value)
    try:
        (place / "late").mkdir()
        (place / "late/file").write_text("forged")
        with pytest.raises(FileNotFoundError):
            safely.read("late/file", 100)
        assert safely.read("ours/sub/file", 100) == b"content"
    finally:
        keeping.keep_to_none()


FAILING: dict[str, Callable[[str], object]] = {
    "folder": safely.unlink,
    "none": safely.remove_folder,
    "none/in": safely.make_folder,
    "file": safely.create,
    "folder/": lambda path: safely.rename(f"{path.rstrip('/')}/../file", path.rstrip("/")),
    "folder/file": lambda path: safely.link(path, path.replace("folder/", "")),
    "nothing": safely.lstat,
}


@pytest.mark.parametrize("path", FAILING)
def test_an_error_names_the_path(place: Path, way: None, path: str) -> None:
    """Not only the name in a folder that is open."""
    (place / "folder").mkdir()
    for name in ("file", "folder/file"):
        (place / name).touch()
    with pytest.raises(OSError) as caught:
        FAILING[path](f"{place}/{path}")
    wanted = {"none/in": "none/.", "folder/": "folder", "folder/file": "file"}.get(path, path)
    assert os.path.normpath(caught.value.filename) == os.path.normpath(place / wanted)
