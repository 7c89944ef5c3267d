"""Runs every benchmark and puts what they print between the markers of bench/README.md.

    python bench/all.py LAYOUT [--original CREATE_SPEC] [--work FOLDER] [--rounds 3] [--only NAME ...]

LAYOUT is an image layout with the tags base, python, nginx, node and gcc. Takes about an hour; FOLDER, where all is
written, is best on a file system of its own. With --only the results of the other ones stay.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "README.md"


def commands(layout: str, original: str | None, rounds: str) -> dict[str, list[str]]:
    against = [*(["--original", original] if original else []), "--rounds", rounds]
    return {
        "cold": ["cold.py", layout, *against],
        "cold-node": ["cold.py", layout, *against, "--tags", "node"],
        "change": ["change.py", layout],
        "shared": ["shared.py", layout, "--rounds", rounds],
        "options": ["options.py"],
        "small": ["small.py"],
        "null": ["null_build.py"],
        "scale": ["scale.py"],
        "ordinary": ["ordinary.py"],
        "store": ["store.py", layout],
        "pull": ["pull.py"],
        "remote": ["remote.py", layout],
        "shards": ["shards.py", layout, "--rounds", rounds],
        "packages": ["packages_cost.py", layout, "--rounds", rounds],
        "page": ["page.py"],
        "forms": ["forms.py", layout, "--rounds", rounds],
    }


def renewed(page: str, name: str, text: str) -> str:
    """The page with the block of one benchmark made anew.

    Raises ValueError where it has none.
    """
    block = f"<!-- begin: {name} -->\n{text}<!-- end: {name} -->"
    made, count = re.subn(rf"<!-- begin: {name} -->\n.*?<!-- end: {name} -->", lambda _: block, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{PAGE}: no block for {name}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layout", type=lambda text: str(Path(text).resolve()))
    parser.add_argument("--original", type=lambda text: str(Path(text).resolve()))
    parser.add_argument("--work", default=".")
    parser.add_argument("--rounds", default="3", help="of the first builds and the forms")
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    for name, (script, *words) in commands(options.layout, options.original, options.rounds).items():
        if options.only and name not in options.only:
            continue
        print(f"{name} ...", flush=True)
        command = [sys.executable, str(HERE / script), *words]
        done = subprocess.run(command, cwd=options.work, capture_output=True, text=True, check=False)
        said = done.stdout if done.returncode == 0 else f"failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}\n"
        shown = ["python", f"bench/{script}", *(word.replace(options.layout, "LAYOUT") for word in words)]
        shown = [word if word != options.original else "CREATE_SPEC" for word in shown]
        today = datetime.date.today()
        text = f"{today}, `{' '.join(shown)}`\n\n```\n{said}```\n"
        PAGE.write_text(renewed(PAGE.read_text(), name, text))
        print(said, flush=True)


if __name__ == "__main__":
    main()
