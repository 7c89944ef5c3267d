"""What a trusted key signed is taken in the place of making it, and gives the very same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from c2wtasks.remote.session import Session
from tests.remote.poison import POISONS, rounds
from tests.remote.sharing import KEYS, STRANGER, Shop

RESULTS = 5  # of the large layer, the user, the packages, two forms


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(Session, "is_worth", lambda *_: True)
    return Shop(tmp_path)


def test_all_is_taken(shop: Shop) -> None:
    shop.write(KEYS[0])
    made = shop.build(shop.remote())
    assert made.files == shop.truth
    assert (made.count("hit"), made.count("made")) == (RESULTS, 0)
    assert len(made.lines) == 1
    assert f"{RESULTS} results taken" in made.lines[0]
    assert not list((shop.folder / "cache/layers/sha256").glob("*.tar"))[1:]  # but the small layer's


def test_it_is_found_without_the_index(shop: Shop) -> None:
    shop.write(KEYS[0])
    (shop.cache / "indexes/main.all").unlink()
    made = shop.build(shop.remote())
    assert (made.files, made.count("hit")) == (shop.truth, RESULTS)


@pytest.mark.parametrize(
    ("key", "scope", "why"),
    [(KEYS[1], "main", "'trust' names no key"), (STRANGER, "main", "'trust' names no key"), (KEYS[0], "pr-7", "")],
    ids=["not trusted", "a stranger", "another scope"],
)
def test_what_others_signed_is_not(shop: Shop, key: object, scope: str, why: str) -> None:
    shop.write(key, scope=scope)  # type: ignore[arg-type]
    made = shop.build(shop.remote())
    assert (made.files, made.count("hit")) == (shop.truth, 0)
    assert (why in " ".join(made.lines)) if why else True


def test_a_pull_request_reads_what_main_has_and_main_does_not_read_its_own(shop: Shop) -> None:
    shop.write(KEYS[0], scope="pr-7")
    assert shop.build(shop.remote()).count("hit") == 0
    assert shop.build(shop.remote(scope="pr-7")).count("hit") == RESULTS
    shop.write(KEYS[0])
    assert shop.build(shop.remote(scope="pr-9")).count("hit") == RESULTS


def test_a_liar_among_three_is_outvoted(shop: Shop) -> None:
    shop.write(KEYS[0], lies=True)
    shop.write(KEYS[1])
    made = shop.build(shop.remote(trusted=3, agree=2))
    assert (made.files, made.count("hit")) == (shop.truth, 0)
    shop.write(KEYS[2])
    made = shop.build(shop.remote(trusted=3, agree=2))
    assert (made.files, made.count("hit")) == (shop.truth, RESULTS)


def test_one_who_lies_of_an_index_is_found_out_when_the_layer_is_read(shop: Shop) -> None:
    shop.write(KEYS[0], lies=True)
    made = None
    try:
        made = shop.build(shop.remote())
    except Exception as error:
        assert "its index was not that of its content" in str(error) or "cannot be used" in str(error)
    assert made is None or made.files["tree"] == shop.truth["tree"]


def test_whatever_is_done_to_a_cache_no_byte_is_wrong(shop: Shop) -> None:
    """2,000 rounds, by hand: python -m tests.soak.poison --rounds 2000"""
    done = rounds(shop, 200, seed=1)
    assert len(done) == len(POISONS)
