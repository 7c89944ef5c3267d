"""Each form of a root against making it in the usual way: write the tree as a folder, then run the tool on that.

    python bench/forms.py LAYOUT [TAG ...] [--rounds 3]        default: node

LAYOUT is an image layout. Needs root. Forms whose tools are not here are skipped (Debian's packages genisoimage,
squashfs-tools and squashfs-tools-ng, e2fsprogs, erofs-utils, cpio). Prints medians of wall time, the time of the tool
alone, what ours takes of both, and our peak memory. `tar` and `context` are held against `cp` of a file of the same
bytes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from measuring import are_here, child, machine

sys.path.insert(0, str(Path(__file__).parents[1]))

from c2wtasks.bundlefile.boot import Boot
from c2wtasks.bundlefile.model import Bundle, Form, Process
from c2wtasks.bundlefile.position import Position
from c2wtasks.layers.store import Store
from c2wtasks.oci.access import Access
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.rootfs import dir as directory
from c2wtasks.rootfs.forms import Making, maker_of
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.resolve import Resolver
from c2wtasks.tree import model, treefile
from c2wtasks.tree.apply import apply

PLATFORM = Platform("linux", "amd64")
# What makes the form of the folder `root`, in the file `out`.
TOOLS = {
    "tar": "cp {ours} {out}",
    "context": "cp {ours} {out}",
    "cpio": "cd {root} && find . | cpio --quiet -o -H newc > {out}",
    "iso": "genisoimage -quiet -R -o {out} {root}",
    "ext4": "truncate -s {size} {out} && mke2fs -q -t ext4 -O ^has_journal -i 4096 -d {root} {out}",
    "squashfs": "mksquashfs {root} {out} -quiet -no-progress -comp gzip",
    "erofs": "mkfs.erofs --quiet {out} {root}",
}
# Other programs than the first word of those commands that the form takes.
NEEDS = {"cpio": ("cpio",), "ext4": ("mke2fs",), "squashfs": ("tar2sqfs",)}


def shell(command: str) -> None:
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def prepared(layout: str, tag: str, work: Path) -> Making:
    """The tree of an image, its layers in a store."""
    reference = Reference.parse(f"oci:{layout}:{tag}")
    image = Resolver(Access(), Documents(str(work / "documents"))).resolve(reference, layout, PLATFORM)
    store = Store(str(work / "layers"))
    root = model.new_directory()
    for number, layer in enumerate(image.layers):
        store.ensure([layer])
        apply(root, store.entries(layer.diff_id), number, same_owner=True)
    tree = treefile.flatten(root, [str(layer.diff_id) for layer in image.layers], default_mtime_ns=0)
    names = ("image.json", "spec.json", "initconfig.json")
    for name in names:
        (work / name).write_text("{}\n")
    bundle = Bundle(
        tag, PLATFORM, reference, layout, "v0.8", (), Boot(), "", Process(), True, Position("bundle.yaml", 1, 1)
    )
    paths = [store.tar(layer.diff_id) for layer in image.layers]
    return Making(bundle, tree, lambda n: paths[n], {name: str(work / name) for name in names}, b"bench", 0)


def bench(layout: str, tag: str, rounds: int, work: Path) -> None:
    making = prepared(layout, tag, work)
    found = {
        kind: tool
        for kind, tool in TOOLS.items()
        if are_here(kind, *{tool.split()[0], *NEEDS.get(kind, ())} - {"cd", "truncate"})
    }
    print(f"\n{tag}: {making.tree.entry_count} entries, {making.tree.size / 1e6:.0f} MB\n")
    print("| form | ours s | folder + tool s | tool s | ours of both | ours of the tool | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, tool in found.items():
        ours, folders, tools, peaks = [], [], [], []
        for number in range(rounds):
            place = work / f"{kind}{number}"
            place.mkdir()
            made, root, out = place / "ours", place / "root", place / "out"
            made.mkdir()
            seconds, peak = child(lambda kind=kind, made=made: maker_of(kind).make(making, Form(kind), str(made)))
            ours.append(seconds)
            peaks.append(peak)
            largest = max((path for path in made.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
            if "{root}" in tool:
                write = child(lambda root=root: directory.write(making.tree, making.tars, str(root)))
                folders.append(write[0])
            words = {"root": root, "out": out, "ours": largest, "size": largest.stat().st_size + (64 << 20)}
            tools.append(child(lambda tool=tool, words=words: shell(tool.format(**words)))[0])
        mine, alone = median(ours), median(tools)
        both = alone + (median(folders) if folders else 0)
        print(
            f"| {kind} | {mine:.2f} | {both:.2f} | {alone:.2f} | {mine / both:.2f} | {mine / alone:.2f} "
            f"| {max(peaks):.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layout")
    parser.add_argument("tags", nargs="*", default=["node"])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{machine()}; medians of {arguments.rounds}")
    for tag in arguments.tags:
        with tempfile.TemporaryDirectory(dir=".") as name:
            bench(str(Path(arguments.layout).resolve()), tag, arguments.rounds, Path(name).resolve())


if __name__ == "__main__":
    main()
