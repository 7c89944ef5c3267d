"""What is done first: a large bundle must not be begun last, when there is nothing left for other workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.graph.catalogs import BASE, write_catalog
from tests.support.images import Layout
from tests.support.running import results, run_doit

SMALL, MIDDLE, LARGE = (f"{name}@linux/amd64" for name in ("a", "b", "c"))


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three images over one base, the last of them by far the largest."""
    for name, size in (("a", 100), ("b", 10_000), ("c", 100_000)):
        digits = "".join(map(str, range(size)))
        Layout(tmp_path / name).image(BASE, {f"srv/{name}": digits}, cmd=["run"])
    write_catalog(tmp_path, {name: f"oci:{name}" for name in "abc"})
    return tmp_path


def test_the_largest_bundle_is_written_before_layers_of_others_are_read(three: Path) -> None:
    """One task at a time, so that the order is told by what is printed."""
    order = list(results(three, "-n", "1"))
    for earlier, later in ((LARGE, MIDDLE), (MIDDLE, SMALL)):
        assert order.index(f"rootfs:{earlier}:dir") < order.index(f"tree:{later}")
    layers = [number for number, name in enumerate(order) if name.startswith("layer")]
    assert layers[:2] == [0, 1]  # the base and the largest
    assert layers[2] > order.index(f"rootfs:{LARGE}:dir")


def test_what_is_named_is_done_in_the_order_named(three: Path) -> None:
    order = list(results(three, "-n", "1", f"rootfs:{SMALL}:dir", f"rootfs:{LARGE}:dir"))
    assert order.index(f"rootfs:{SMALL}:dir") < order.index(f"rootfs:{LARGE}:dir")


def test_many_at_once_make_the_same(three: Path) -> None:
    assert run_doit(three, "-n", "3").exit == 0
    assert run_doit(three, "verify").exit == 0
