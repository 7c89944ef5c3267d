"""The page of a catalog: how long it takes to make, how large it is, how soon a browser has it ready, and what a
keystroke takes there.

    python bench/page.py [BUNDLES]        default: 5000

The catalog is generated, as 30 nights of runs leave one, and not built. "first": nothing is known of the bundles'
files; "one changed": all but one is. Making is told in CPU seconds of this process, the least of 3. The browser is
chromium without a window, from file://: the least of 9 times, as what else the machine does makes them only longer.
"""

from __future__ import annotations

import gzip
import shutil
import sys
import tempfile
import time
from pathlib import Path

from catalogs import PROJECT
from measuring import machine

sys.path.insert(0, str(PROJECT))

from c2wtasks.graph.showing import write
from c2wtasks.output import listing
from tests.support import outputs
from tests.support.browser import WHY_NOT, Seen, browser

WORD = "shop-web arm64"
TYPED = """async (text) => {
    const field = document.getElementById("find"), times = [];
    for (let end = 1; end <= text.length; end += 1) {
        field.value = text.slice(0, end);
        const began = performance.now();
        field.dispatchEvent(new Event("input"));
        document.body.getBoundingClientRect();  // laid out
        times.push(performance.now() - began);
        await new Promise((done) => requestAnimationFrame(done));
    }
    return times;
}"""


def made(output: Path) -> float:
    text = (output / "catalog.json").read_bytes()
    began = time.process_time()
    write(str(output), "A catalog", "0" * 32, listing.lines(text))
    return time.process_time() - began


def change_one(output: Path, number: int) -> None:
    lines = list(listing.lines((output / "catalog.json").read_bytes()))
    one = lines[number]
    assert one.bundle is not None
    new = outputs.write_bundle(output, one.name, one.platform, [outputs.layer(number, 10**6)])
    lines[number] = outputs.line(new)
    outputs.write_catalog_json(output, lines)


def making(output: Path) -> None:
    print(f"made, first:       {made(output):.2f} s of CPU")
    times = []
    for number in range(3):
        change_one(output, number)
        times.append(made(output))
    print(f"made, one changed: {min(times):.2f} s of CPU")
    page = (output / "catalog.html").read_bytes()
    print(f"size:              {len(page) / 1e6:.2f} MB, {len(gzip.compress(page)) / 1e6:.2f} MB by gzip")


def browsing(output: Path) -> None:
    with browser() as chromium:
        ready, found = [], []
        for _ in range(9):
            seen = Seen(chromium, output / "catalog.html")
            ready.append(seen.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
            found.append(max(seen.page.evaluate(TYPED, WORD)))
            assert seen.said == []
            seen.context.close()
    print(f"ready:             {min(ready):.0f} ms after it was asked for")
    print(f"a keystroke:       {min(found):.1f} ms, the slowest of {len(WORD)}")


def main() -> None:
    bundles = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    work = Path(tempfile.mkdtemp(prefix="bench-page-"))
    try:
        print(f"{machine()}; {bundles} bundles")
        outputs.generate(work / "bundles", bundles)
        making(work / "bundles")
        if WHY_NOT:
            print(f"skipped: {WHY_NOT}")
        else:
            browsing(work / "bundles")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
