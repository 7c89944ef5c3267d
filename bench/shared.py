"""Roots that share their files (`share: true`) against roots that do not: the disk of many bundles with a common
base, and a first build of each image.

    python bench/shared.py LAYOUT [--bundles 100] [--rounds 3] [--tags base,python,nginx,node,gcc]

LAYOUT is an image layout with those tags. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from measuring import Reading, machine, rounds, run, table

DODO = Path(__file__).parents[1] / "dodo.py"


def build(folder: Path, layout: Path, tags: list[str], count: int, *, share: bool) -> Reading:
    """A first build of so many bundles, of each image about as many."""
    shutil.copy(DODO, folder)
    images = {
        f"{tags[number % len(tags)]}-{number}": {
            "source": f"oci:{layout}:{tags[number % len(tags)]}",
            "process": {"env": {"NUMBER": str(number)}},
        }
        for number in range(count)
    }
    text = {"platforms": ["linux/amd64"], "share": share, "images": images}
    (folder / "bundle.yaml").write_text(json.dumps(text))
    return run([[sys.executable, "-m", "doit"]], folder)


def disk(folders: list[Path]) -> tuple[int, int]:
    """The bytes of disk of all files below these folders, each once; and of the folders."""
    seen: dict[int, int] = {}
    of_folders = 0
    for folder in folders:
        for at, _, names in os.walk(folder):
            of_folders += os.lstat(at).st_blocks * 512
            for name in names:
                state = os.lstat(f"{at}/{name}")
                seen[state.st_ino] = state.st_blocks * 512
    return sum(seen.values()), of_folders


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("layout", type=lambda text: Path(text).resolve())
    parser.add_argument("--bundles", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tags", default="base,python,nginx,node,gcc", type=lambda text: text.split(","))
    options = parser.parse_args()
    layout, tags = options.layout, options.tags
    for blob in layout.glob("blobs/*/*"):
        run([["cat", str(blob)]], layout)  # into the page cache
    print(f"{machine()}; {', '.join(tags)}; medians of {options.rounds}\n")
    with tempfile.TemporaryDirectory(dir=".") as name:
        work = Path(name).resolve()
        contenders = {
            "share": lambda folder: build(folder, layout, tags, len(tags), share=True),
            "no share": lambda folder: build(folder, layout, tags, len(tags), share=False),
        }
        print(f"{len(tags)} bundles:\n\n{table(rounds(contenders, work, options.rounds), 'share')}\n", flush=True)
        many = work / "many"
        many.mkdir()
        reading = build(many, layout, tags, options.bundles, share=True)
        bundles = many / "bundles"
        published = [path for path in bundles.iterdir() if not path.name.startswith(".")]
        once, once_folders = disk([bundles / f"{tag}-{number}" for number, tag in enumerate(tags)])
        files, folders = disk(published)
        private = sum(disk([bundles])) - files - folders
        print(
            f"{options.bundles} bundles in {reading.wall:.1f} s, {reading.cpu:.1f} of CPU: files {files / 1e6:.0f} "
            f"MB, {files / once:.3f} of what one of each image takes ({once / 1e6:.0f}); with folders "
            f"{(files + folders) / (once + once_folders):.3f}; {private / 1e6:.0f} MB in .parts"
        )


if __name__ == "__main__":
    main()
