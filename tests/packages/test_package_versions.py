"""Versions are ordered as dpkg and rpm themselves say, and as apk's, Python's and npm's rules have it."""

from __future__ import annotations

import random
import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.packages.versions import key

KINDS = ("deb", "rpm", "apk", "pypi", "npm", "other")
ORDERED = {
    "deb": "0~ 0 1~~ 1~~a 1~rc1 1 1-0.1 1-1 1a 1+b1 1.0 1.10 2-1~bpo 2-1 1:0",
    "rpm": "1.0~rc1-1 1.0-1 1.0^git1-1 1.0a-1 1.0.1-1 1.9-1 1.10-1 1.10-2 1:0-1",
    "apk": "0.1.001 0.1.0_alpha 0.1.0_alpha1 0.1.0_beta 0.1.0_pre2 0.1.0_rc1 0.1.0 0.1.0-r1 0.1.0_git1 0.1.0_p1 "
    "0.1.0_p1-r3 0.1.0a 0.1.0b 0.1.01 0.1.1 0.1.9 0.1.10 1.0 2.0",
    "pypi": "1.0.dev1 1.0a1.dev1 1.0a1 1.0b2 1.0rc1 1.0 1.0.post1.dev2 1.0.post1 1.1 1.10 1!0.1",
    "npm": "1.0.0-1 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-rc.2 1.0.0-rc.10 1.0.0 1.10.0",
}


@pytest.mark.parametrize("kind", ORDERED)
def test_order(kind: str) -> None:
    for before, after in pairwise(ORDERED[kind].split()):
        assert key(kind, before) < key(kind, after), (before, after)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("deb", "1.0", "0:1.0-"), ("deb", "1.", "1.0"), ("deb", "01", "1"), ("rpm", "1.0-1", "0:1_0-1"),
        ("apk", "1.0~abc-r1", "1.0-r1"), ("pypi", "1.0.0", "1"), ("pypi", "1.0-alpha1", "1.0a1+local"),
        ("npm", "1.0.0+x", "v1.0.0"),
    ],
)  # fmt: skip
def test_equal(kind: str, one: str, other: str) -> None:
    assert key(kind, one) == key(kind, other)


@given(st.sampled_from(KINDS), st.lists(st.text("0123.-+:~^_aAzr!v ", max_size=8) | st.text(max_size=4), min_size=3))
def test_any_texts_have_an_order(kind: str, texts: list[str]) -> None:
    assert len(sorted(key(kind, one) for one in texts)) == len(texts)


def versions(count: int) -> list[str]:
    chance = random.Random(1)
    parts = ["0", "1", "10", "09", "a", "b", "rc", ".", ".", "+", "~", "~~", "^"]
    return ["1" + "".join(chance.choices(parts, k=chance.randrange(5))) for _ in range(count)]


def test_as_dpkg_says() -> None:
    found = [one.replace("^", "-") + "1" for one in versions(300)]
    for one, other in pairwise(found):
        says = subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False).returncode == 0
        assert (key("deb", one) < key("deb", other)) is says, (one, other)


@pytest.mark.skipif(not shutil.which("rpm"), reason="needs Debian's package rpm")
def test_as_rpm_says() -> None:
    found = [*pairwise(versions(300))]
    script = "".join(f"print(rpm.vercmp('{one}', '{other}') .. ' ') " for one, other in found)
    said = subprocess.run(["rpm", "--eval", f"%{{lua:{script}}}"], check=True, capture_output=True, text=True).stdout
    for (one, other), says in zip(found, said.split(), strict=True):
        first, second = key("rpm", one), key("rpm", other)
        assert (first > second) - (first < second) == int(says), (one, other)
