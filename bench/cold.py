"""A first build with an empty cache, against umoci, buildah, igzip | tar and, where a path to it is given, the
original.

    python bench/cold.py LAYOUT [--original CREATE_SPEC] [--tags base,python,nginx,node,gcc] [--rounds 3]

LAYOUT is an image layout with those tags. Needs root. Contenders that are not here are
skipped (Debian's packages isal, umoci, buildah).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Reading, are_here, machine, rounds, run, table

DODO = Path(__file__).parents[1] / "dodo.py"


def layers(layout: Path, tag: str) -> tuple[dict[str, Any], list[str]]:
    """The tag's descriptor, and the paths of its layers' blobs."""
    index = json.loads((layout / "index.json").read_text())
    ref = "org.opencontainers.image.ref.name"
    descriptor: dict[str, Any] = next(one for one in index["manifests"] if one["annotations"].get(ref) == tag)

    def blob(digest: str) -> str:
        return str(layout / "blobs" / digest.replace(":", "/"))

    manifest = json.loads(Path(blob(descriptor["digest"])).read_text())
    return descriptor, [blob(layer["digest"]) for layer in manifest["layers"]]


def single(layout: Path, tag: str, folder: Path) -> Path:
    """A layout of one image over the same blobs: the original takes the first that fits."""
    made = folder / tag
    made.mkdir()
    (made / "blobs").symlink_to(layout / "blobs")
    (made / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (made / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [layers(layout, tag)[0]]}))
    return made


def ours(layout: Path, tags: list[str]) -> Callable[[Path], Reading]:
    def contend(folder: Path) -> Reading:
        shutil.copy(DODO, folder)
        images = {tag: f"oci:{layout}:{tag}" for tag in tags}
        (folder / "bundle.yaml").write_text(json.dumps({"platforms": ["linux/amd64"], "images": images}))
        return run([[sys.executable, "-m", "doit"]], folder)

    return contend


def buildah(layout: Path, tags: list[str]) -> Callable[[Path], Reading]:
    """Its own store, of layers that are unpacked one by one; a root is an overlay of them, mounted."""

    def contend(folder: Path) -> Reading:
        options = f"--root {folder}/store --runroot {folder}/running --storage-driver overlay"
        make = "container=$(buildah {0} from oci:{1}:{2}) && buildah {0} mount $container"
        try:
            return run([["sh", "-c", make.format(options, layout, tag)] for tag in tags], folder)
        finally:
            for end in ("umount --all", "rm --all"):
                subprocess.run(f"buildah {options} {end}", shell=True, check=False, capture_output=True)
            for mounted in (folder / "store/overlay", folder / "running"):
                subprocess.run(["umount", mounted], check=False, capture_output=True)

    return contend


def contenders(
    layout: Path, tags: list[str], original: str | None, scratch: Path
) -> dict[str, Callable[[Path], Reading]]:
    found = {"ours": ours(layout, tags)}
    if original is not None:
        places = {tag: single(layout, tag, scratch) for tag in tags}
        commands = [
            [
                "sh",
                "-c",
                f"mkdir -p {tag}/rootfs && cd {tag} && {shlex.quote(original)} {places[tag]} linux/amd64 rootfs",
            ]
            for tag in tags
        ]
        found["the original"] = lambda folder: run(commands, folder)
        if len(tags) > 1:
            found["the original, two at a time"] = lambda folder: run(commands, folder, at_once=2)
    if are_here("umoci", "umoci"):
        umoci = [["umoci", "raw", "unpack", "--image", f"{layout}:{tag}", tag] for tag in tags]
        found["umoci raw unpack"] = lambda folder: run(umoci, folder)
    if are_here("buildah", "buildah"):
        found["buildah"] = buildah(layout, tags)
    if are_here("igzip, GNU tar", "igzip", "tar"):
        pipes = []
        for tag in tags:
            each = " && ".join(f"igzip -dc {blob} | tar -xf - -C {tag}" for blob in layers(layout, tag)[1])
            pipes.append(["sh", "-c", f"mkdir {tag} && {each}"])
        found["igzip, GNU tar"] = lambda folder: run(pipes, folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("layout", type=lambda text: Path(text).resolve())
    parser.add_argument("--original", type=os.path.abspath)
    parser.add_argument("--tags", default="base,python,nginx,node,gcc", type=lambda text: text.split(","))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for blob in options.layout.glob("blobs/*/*"):
        # Into the page cache. What we held ourselves would count as theirs.
        run([["cat", str(blob)]], options.layout)
    print(f"{machine()}; {', '.join(options.tags)}; medians of {options.rounds}\n")
    with tempfile.TemporaryDirectory(dir=".") as name:
        work = Path(name).resolve()
        (work / "layouts").mkdir()
        found = contenders(options.layout, options.tags, options.original, work / "layouts")
        print(table(rounds(found, work, options.rounds), "ours"), flush=True)


if __name__ == "__main__":
    main()
