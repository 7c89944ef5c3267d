"""Every form, made on this machine, on Debian 12 and on Debian 13, there by root and by an ordinary user: the same
bytes, but for `squashfs`, which follows its tool.

Needs root, debootstrap, a package mirror and a package index. FOLDER is made, or has the Debians of an earlier run:

    python -m tests.soak.debians FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from c2wtasks.rootfs import tar
from tests.graph.catalogs import DODO, write_catalog
from tests.support.images import Layer, Layout
from tests.support.nasty import nasty
from tests.support.running import environment

PROJECT = DODO.parent
RELEASES = ("bookworm", "trixie")
PACKAGES = "ca-certificates,python3,python3-venv,squashfs-tools-ng"
USER = "setpriv --reuid=1000 --regid=1000 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs".split()
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


def catalog(folder: Path) -> None:
    """The example catalog and an image of the nasty tree, in all forms."""
    shutil.copytree(PROJECT / "examples", folder / "examples")
    settings = yaml.safe_load((PROJECT / "bundle.yaml").read_text())
    tree, tars = nasty(folder)
    tar.write(tree, tars.__getitem__, str(folder / "layer"))
    Layout(folder / "nasty").image(Layer((folder / "layer").read_bytes()), cmd=["nasty"])
    images = {
        **settings.pop("images"),
        "nasty": {"source": "oci:nasty", "platforms": ["linux/amd64"]},
    }
    for name, image in [*images.items()]:
        entry = {"source": image} if isinstance(image, str) else image
        for number, forms in enumerate(FORMS):
            images[f"{name}-{number}"] = {**entry, "rootfs": forms}
        del images[name]
    write_catalog(folder, images, **settings)


def debian(release: str, folder: Path, constraints: str) -> Path:
    """That Debian, with this project in its folder /venv, and the Python packages in the versions that are here."""
    root = folder / release
    if not root.exists():
        part = folder / f"{release}.part"
        shutil.rmtree(part, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, part)
        part.rename(root)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs")  # as those of the index may be our own
    shutil.rmtree(root / "project", ignore_errors=True)
    (root / "project").mkdir()
    for name in ("c2wtasks", "pyproject.toml", "README.md"):
        run("cp", "-r", "--parents", name, root / "project", cwd=PROJECT)
    (root / "project/constraints").write_text(constraints)
    run(*inside(root), "python3", "-m", "venv", "--clear", "/venv")
    run(*inside(root), "/venv/bin/pip", "install", "-q", "-c", "/project/constraints", "/project")
    return root


def inside(root: Path) -> list[str]:
    """What a command is put behind to be run there, in mounts of its own."""
    return ["unshare", "--mount", "--pid", "--fork", f"--root={root}", "--mount-proc"]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def made(before: Sequence[str], python: str, folder: Path, seen_as: str) -> dict[str, str]:
    """Builds the catalog in `folder`, which the command finds at `seen_as`. Gives the digest of each bundle's files,
    but of the record, which says who made them."""
    run(*before, "sh", "-c", 'cd "$0" && exec "$@"', seen_as, python, "-m", "doit", "-r", "zero")
    bundles = folder / "bundles"
    digests = {
        str(path.relative_to(bundles)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundles.rglob("*")
        if path.is_file() and ".parts" not in path.parts and path.name not in ("bundle.json", "catalog.json")
    }
    shutil.rmtree(folder)
    return digests


def compared(all_made: dict[str, dict[str, str]]) -> bool:
    """Says where the makers differ. Whether it is well: nothing differs but squashfs, and that between releases only."""
    names = sorted({name for digests in all_made.values() for name in digests})
    is_well = True
    for name in names:
        makers: dict[str | None, list[str]] = {}
        for maker, digests in all_made.items():
            makers.setdefault(digests.get(name), []).append(maker)
        if len(makers) > 1:
            print(f"{name}: {' | '.join(', '.join(same) for same in makers.values())}")
            is_well &= name.endswith(".squashfs")
    for release in RELEASES:
        is_well &= all_made[f"{release}, root"] == all_made[f"{release}, user"]
    print(f"{len(names)} files by {len(all_made)} makers: {'well' if is_well else 'NOT WELL'}")
    return is_well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    shutil.rmtree(folder / "catalog", ignore_errors=True)
    (folder / "catalog").mkdir(parents=True)
    catalog(folder / "catalog")
    constraints = run(sys.executable, "-m", "pip", "freeze", "--exclude-editable")
    here = folder / "here"
    run("cp", "-r", folder / "catalog", here)
    all_made = {"here, root": made([], sys.executable, here, str(here))}
    for release in RELEASES:
        root = debian(release, folder, constraints)
        for who, drop in (("root", []), ("user", USER)):
            shutil.rmtree(root / "made", ignore_errors=True)
            run("cp", "-r", folder / "catalog", root / "made")
            if drop:
                run("chown", "-R", "1000:1000", root / "made")
            all_made[f"{release}, {who}"] = made([*inside(root), *drop], "/venv/bin/python", root / "made", "/made")
            print(f"{release}, {who}: made", flush=True)
    sys.exit(not compared(all_made))


if __name__ == "__main__":
    main()
