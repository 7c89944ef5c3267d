"""The forms on Debian 12 and 13: their bytes, and their readers.

Makes every form of the example catalog and of the nasty tree with this machine's Python, and on both Debians by root
and by an ordinary user without capabilities. All are the same bytes, but for `squashfs`, which follows its tool. Then
the tests of the forms are run on Debian 13, whose readers are of another generation, BuildKit among them.

Needs root, debootstrap, and Debian's and Python's packages from the net. FOLDER is made, and takes 4 GB; a later run
finds the two Debians there.

    python -m tests.soak.debians FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from c2wtasks.rootfs import tar
from tests.graph.catalogs import DODO, write_catalog
from tests.support.images import Layer, Layout
from tests.support.nasty import nasty
from tests.support.published import OF_RUNS
from tests.support.running import environment

PROJECT = DODO.parent
RELEASES = ("bookworm", "trixie")
PACKAGES = "ca-certificates,python3,python3-venv,squashfs-tools-ng"
PYTHON = "/project/.venv/bin/python"
OF_THE_RECORD = ("bundle.json", "SHA256SUMS", "catalog.json")
NOT_COPIED = (".git", ".venv", ".doit*", ".*_cache", "__pycache__", "bundles", "cache")
USER = "setpriv --reuid=1000 --regid=1000 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
# What runs a command in another root: in mounts of its own, which end with it.
INSIDE = """\
set -e
mount --bind "$0" "$0"
for one in dev sys; do mount --rbind "/$one" "$0/$one"; done
mount -t proc proc "$0/proc"
exec chroot "$0" "$@"
"""
TESTS = """\
apt-get update -qq
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends docker.io docker-cli docker-buildx >/dev/null
exec bash /project/tests/run -p no:cacheprovider tests/rootfs tests/forms
"""
FORMS: tuple[list[Any], ...] = (
    [*("tar", "cpio", "iso", {"form": "iso", "tree": "vm"}, "ext4", "squashfs", "erofs", "context", "imagemounter")],
    [
        {"form": "tar", "compression": "gzip"},
        {"form": "tar", "compression": "zstd"},
        {"form": "ext4", "journal": True},
        {"form": "squashfs", "compression": "xz"},
        {"form": "imagemounter", "compression": "gzip"},
    ],
    [{"form": "tar", "compression": "zstd", "level": 19}, {"form": "squashfs", "compression": "zstd"}],
    [{"form": "tar", "compression": "gzip", "level": 3}, {"form": "squashfs", "compression": "lz4"}],
)

Digests = dict[str, str]


def catalog(folder: Path) -> None:
    """The example catalog and an image of the nasty tree, each image as often as there are lists of forms."""
    shutil.copytree(PROJECT / "examples", folder / "examples")
    settings = yaml.safe_load((PROJECT / "bundle.yaml").read_text())
    tree, tars = nasty(folder)
    tar.write(tree, tars.__getitem__, str(folder / "layer"))
    Layout(folder / "nasty").image(Layer((folder / "layer").read_bytes()), cmd=["nasty"])
    images = {}
    for name, image in {
        **settings.pop("images"),
        "nasty": {"source": "oci:nasty", "platforms": ["linux/amd64"]},
    }.items():
        entry = {"source": image} if isinstance(image, str) else image
        for number, forms in enumerate(FORMS):
            images[f"{name}-{number}"] = {**entry, "rootfs": forms}
    write_catalog(folder, images, **settings)


def debian(release: str, folder: Path) -> Path:
    """The root of that Debian, with this project installed in it, and the Python packages in the versions of here."""
    root = folder / release
    if not root.exists():
        part = folder / f"{release}.part"
        shutil.rmtree(part, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, part)
        part.rename(root)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs")  # where there is a proxy with its own
    shutil.rmtree(root / "project", ignore_errors=True)
    shutil.copytree(PROJECT, root / "project", ignore=shutil.ignore_patterns(*NOT_COPIED))
    (root / "constraints").write_text(run(sys.executable, "-m", "pip", "freeze", "--exclude-editable"))
    run(*inside(root), "python3", "-m", "venv", "/project/.venv")
    run(*inside(root), PYTHON, "-m", "pip", "install", "-q", "-c", "/constraints", "-e", "/project[test]")
    return root


def inside(root: Path) -> list[str]:
    """What is put before a command that is to run in a root."""
    return ["unshare", "--mount", "--pid", "--fork", "sh", "-c", INSIDE, str(root)]


def run(*command: str | Path) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, env=environment(), stdout=subprocess.PIPE, text=True, check=True).stdout


def made(before: list[str], python: str, folder: Path, seen_as: str) -> Digests:
    """Builds the catalog in `folder`, which is `seen_as` to the command. Gives the digests of the bundles' files, but
    not of the records, which say who made them."""
    run(*before, "sh", "-c", 'cd "$0" && exec "$@"', seen_as, python, "-m", "doit", "-r", "zero")
    bundles = folder / "bundles"
    return {
        str(path.relative_to(bundles)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundles.rglob("*")
        if path.is_file() and not OF_RUNS & {*path.parts} and path.name not in OF_THE_RECORD
    }


def are_the_same(makers: dict[str, Digests]) -> bool:
    """Says where makers differ. No two of one Debian may, and others only in `squashfs`."""
    names = sorted({name for digests in makers.values() for name in digests})
    well = all(makers[f"root on {release}"] == makers[f"user on {release}"] for release in RELEASES)
    for name in names:
        groups: dict[str | None, list[str]] = {}
        for maker, digests in makers.items():
            groups.setdefault(digests.get(name), []).append(maker)
        if len(groups) > 1:
            print(f"{name}: {' | '.join(', '.join(group) for group in groups.values())}")
            well = well and name.endswith(".squashfs")
    print(f"{len(names)} files: {'the same, but for squashfs' if well else 'NOT THE SAME'}", flush=True)
    return well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    for name in ("catalog", "here"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "catalog").mkdir(parents=True)
    catalog(folder / "catalog")
    shutil.copytree(folder / "catalog", folder / "here")
    makers = {"here": made([], sys.executable, folder / "here", str(folder / "here"))}
    for release in RELEASES:
        root = debian(release, folder)
        for who, owner, drop in (("root", 0, []), ("user", 1000, USER.split())):
            shutil.rmtree(root / "made", ignore_errors=True)
            shutil.copytree(folder / "catalog", root / "made")
            run("chown", "-R", f"{owner}:{owner}", root / "made")
            makers[f"{who} on {release}"] = made([*inside(root), *drop], PYTHON, root / "made", "/made")
    if not are_the_same(makers):
        sys.exit(1)
    sys.exit(
        subprocess.run([*inside(folder / "trixie"), "sh", "-ec", TESTS], env=environment(), check=False).returncode
    )


if __name__ == "__main__":
    main()
