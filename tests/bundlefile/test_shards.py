"""Shards: each bundle in one of them, the same on every machine, few layers read twice, and none much larger."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.lock import LockedLayer, LockEntry
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.bundlefile.shards import MAX_COUNT, Shard, ShardError, split
from c2wtasks.oci.digest import Digest

SHARDS = {"1/1": (1, 1), "3/8": (3, 8), "08/08": (8, 8), f"1/{MAX_COUNT}": (1, MAX_COUNT)}
NONE = ["", "0/1", "2/1", "1/0", "-1/3", "1", "1/", "/1", "1/3/4", "1 /3", "1/3\n", "a/b", "1/10001", "٣/٨", "1.0/3"]


@pytest.mark.parametrize(("text", "wanted"), SHARDS.items(), ids=SHARDS)
def test_words_for_a_shard(text: str, wanted: tuple[int, int]) -> None:
    shard = Shard.parse(text)
    assert (shard.number, shard.count) == wanted
    assert str(shard) == f"{wanted[0]}/{wanted[1]}"


@pytest.mark.parametrize("text", NONE)
def test_words_for_none(text: str) -> None:
    with pytest.raises(ShardError, match="is no shard; give a number and of how many, such as 3/8"):
        Shard.parse(text)


def digest(number: int) -> Digest:
    return Digest.parse(f"sha256:{number:064x}")


def bundles_of(folder: Path, count: int, defaults: str = "{rootfs: [dir]}") -> list[Bundle]:
    names = ", ".join(f"b{number:04}: oci:images/{number}" for number in range(count))
    (folder / "bundle.yaml").write_text(f"platforms: [linux/amd64]\ndefaults: {defaults}\nimages: {{{names}}}\n")
    return list(load(str(folder / "bundle.yaml")).bundles)


def entry(bundle: Bundle, layers: list[tuple[int, int]]) -> LockEntry:
    """`layers` are (number, bytes)."""
    locked = tuple(LockedLayer(digest(number), digest(number), size) for number, size in layers)
    return LockEntry(str(bundle), bundle.source.text, None, digest(0), locked)


def simulated(bundles: list[Bundle], seed: int) -> dict[Bundle, list[tuple[int, int]]]:
    """The layers of a catalog as they are: a few bases, some runtimes on them, applications on each of these, of
    sizes that differ a hundredfold."""
    chance = random.Random(seed)
    numbers = iter(range(1, 10_000))
    bases = [(next(numbers), int(chance.lognormvariate(17, 0.5))) for _ in range(8)]
    runtimes = [[chance.choice(bases), (next(numbers), int(chance.lognormvariate(17, 0.8)))] for _ in range(40)]
    return {
        bundle: [
            *chance.choice(runtimes),
            *((next(numbers), int(chance.lognormvariate(16, 1))) for _ in range(chance.randint(1, 3))),
        ]
        for bundle in bundles
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    return bundles_of(tmp_path_factory.mktemp("many"), 1000)


@given(
    chains=st.lists(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 1 << 30)), max_size=4), max_size=40),
    unlocked=st.integers(0, 5),
    count=st.integers(1, 60),
    shuffle=st.randoms(use_true_random=False),
)
def test_each_bundle_is_in_one_shard(
    many: list[Bundle],
    chains: list[list[tuple[int, int]]],
    unlocked: int,
    count: int,
    shuffle: random.Random,
) -> None:
    bundles = many[: len(chains) + unlocked]
    entries = {str(bundle): entry(bundle, chain) for bundle, chain in zip(bundles, chains, strict=False)}
    shares = split(bundles, entries, count)
    assert len(shares) == count
    assert sorted(str(bundle) for share in shares for bundle in share.bundles) == sorted(map(str, bundles))
    assert all(list(share.bundles) == sorted(share.bundles, key=bundles.index) for share in shares)
    in_other_order = dict(shuffle.sample(sorted(entries.items()), len(entries)))
    assert split(bundles, in_other_order, count) == shares
    assert [Shard(number + 1, count).of(bundles, entries) for number in range(count)] == [
        share.bundles for share in shares
    ]


@pytest.mark.parametrize(("count", "read", "slowest"), [(1, 1, 1), (8, 1.05, 1.1), (32, 1.1, 1.15)])
@pytest.mark.parametrize("seed", range(3))
def test_layers_are_read_once_and_work_is_even(
    many: list[Bundle], count: int, read: float, slowest: float, seed: int
) -> None:
    chains = simulated(many, seed)
    entries = {str(bundle): entry(bundle, chain) for bundle, chain in chains.items()}
    shares = split(many, entries, count)
    once = sum({number: size for chain in chains.values() for number, size in chain}.values())
    assert once <= sum(share.read for share in shares) <= read * once
    roots = {str(bundle): sum(size for _, size in chain) for bundle, chain in chains.items()}
    work = [share.read + sum(roots[str(bundle)] for bundle in share.bundles) for share in shares]
    assert max(work) <= slowest * (once + sum(roots.values())) / count


def test_bundles_of_one_image_stay_together(tmp_path: Path) -> None:
    bundles = bundles_of(tmp_path, 8)
    entries = {str(bundle): entry(bundle, [(1 + number % 2, 500 << 20)]) for number, bundle in enumerate(bundles)}
    one, other = split(bundles, entries, 2)
    assert {number % 2 for number, bundle in enumerate(bundles) if bundle in one.bundles} in ({0}, {1})
    assert one.read == other.read == 500 << 20


def test_what_the_lock_does_not_know(tmp_path: Path) -> None:
    shares = split(bundles_of(tmp_path, 10), {}, 5)
    assert [(len(share.bundles), share.read) for share in shares] == [(2, 0)] * 5


def test_bundles_without_a_root_read_nothing(tmp_path: Path) -> None:
    bundles = bundles_of(
        tmp_path, 4, "{boot: {external_bundle: true, image_config_path: /i, runtime_config_path: /s}}"
    )
    entries = {str(bundle): entry(bundle, [(1, 1 << 30)]) for bundle in bundles}
    assert [(len(share.bundles), share.read) for share in split(bundles, entries, 2)] == [(2, 0)] * 2


def test_fewer_bundles_than_shards(tmp_path: Path) -> None:
    assert [len(share.bundles) for share in split(bundles_of(tmp_path, 2), {}, 4)] == [1, 1, 0, 0]
    assert [share.bundles for share in split([], {}, 2)] == [(), ()]
