"""Which of two versions of a package is the later one, as its manager says. Pure.

A version becomes a key, and keys are compared: what ends before the other does has a 0 where that goes on, which is
more than a `~` and less than anything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Key = tuple[object, ...]

_RPM_PART = re.compile(r"[0-9]+|[A-Za-z]+|[~^]")
_APK = re.compile(
    r"(?P<digits>[0-9]+(?:\.[0-9]+)*)(?P<letter>[a-z]?)(?P<suffixes>(?:_[a-z]+[0-9]*)*)(?:~[0-9a-f]+)?(?:-r(?P<revision>[0-9]+))?"
)
_APK_BEFORE, _APK_AFTER = ("alpha", "beta", "pre", "rc"), ("cvs", "svn", "git", "hg", "p")
_PEP440 = re.compile(
    r"v?(?:(?P<epoch>[0-9]+)!)?(?P<release>[0-9]+(?:\.[0-9]+)*)"
    r"(?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>[0-9]*))?"
    r"(?P<post>-[0-9]+|[-_.]?(?:post|rev|r)[-_.]?[0-9]*)?(?P<dev>[-_.]?dev[-_.]?[0-9]*)?(?:\+[a-z0-9._-]*)?"
)


def key(kind: str, version: str) -> Key:
    """What orders the versions of packages of a kind. One that is not as its manager has them is ordered as rpm's
    are."""
    made = _KEYS[kind](version) if kind in _KEYS else None
    return (1, made) if made is not None else (0, _rpm(version))


def _parts(version: str) -> tuple[int, str, str]:
    """The epoch, 0 where there is none; what is before the last "-", and what is behind it."""
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdecimal():
        epoch, rest = "0", version
    upstream, _, last = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch), upstream, last


def _deb(version: str) -> Key:
    """deb-version(7)."""
    epoch, upstream, revision = _parts(version)
    return epoch, _deb_part(upstream), _deb_part(revision)


def _deb_part(part: str) -> Key:
    found: list[object] = []
    for other, digits in re.findall(r"([^0-9]*)([0-9]*)", part)[:-1]:
        found += [(*map(_deb_order, other), 0), int(digits or 0)]
    return (*found, (0,))


def _deb_order(char: str) -> int:
    return -1 if char == "~" else ord(char) if char.isalpha() else ord(char) + 0x110000


def _rpm(version: str) -> Key:
    """`rpmvercmp` of the epoch, the version and the release."""
    epoch, upstream, release = _parts(version)
    return epoch, _rpm_part(upstream), _rpm_part(release)


def _rpm_part(part: str) -> Key:
    return (*map(_rpm_order, _RPM_PART.findall(part)), (0,))


def _rpm_order(part: str) -> tuple[int | str, ...]:
    if part in "~^":
        return (-1,) if part == "~" else (1,)
    return (3, int(part)) if part.isdecimal() else (2, part)


def _apk(version: str) -> Key | None:
    """`apk version`: digits, a letter, suffixes, a revision. Digits that begin with zeros, but for the first, are
    less the more zeros there are."""
    found = _APK.fullmatch(version)
    if found is None:
        return None
    first, *more = found["digits"].split(".")
    parts: list[tuple[int | str, ...]] = [(5, int(first))]
    for digits in more:
        zeros = len(digits) - len(digits.lstrip("0"))
        parts += [(5, -zeros)] if zeros else []
        parts += [(5, int(digits))] if int(digits) else []
    if found["letter"]:
        parts.append((4, found["letter"]))
    for name, number in re.findall(r"_([a-z]+)([0-9]*)", found["suffixes"]):
        if name not in _APK_BEFORE + _APK_AFTER:
            return None
        order = _APK_BEFORE.index(name) - 4 if name in _APK_BEFORE else 0
        parts.append((order, int(number or 0)) if order else (3, _APK_AFTER.index(name), int(number or 0)))
    if found["revision"]:
        parts.append((2, int(found["revision"])))
    return (*parts, (0,))


def _pypi(version: str) -> Key | None:
    """PEP 440, without what is behind a `+`."""
    found = _PEP440.fullmatch(version.lower().strip())
    if found is None:
        return None
    release = re.sub(r"(?:\.0+)+$", "", found["release"])
    post, dev = (re.sub("[^0-9]", "", found[name] or "") for name in ("post", "dev"))
    if found["pre"]:
        letter = {"a": 0, "b": 1}.get(found["pre"][0], 2)
        before = (letter, int(found["pre_number"] or 0))
    else:
        before = (-1, 0) if found["dev"] and not found["post"] else (3, 0)
    behind = int(post or 0) if found["post"] else -1
    return (
        int(found["epoch"] or 0),
        tuple(map(int, release.split("."))),
        before,
        behind,
        int(dev or 0) if found["dev"] else float("inf"),
    )


def _npm(version: str) -> Key | None:
    """Semantic Versioning 2.0.0."""
    release, _, pre = version.removeprefix("v").partition("+")[0].partition("-")
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", release):
        return None
    parts = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in pre.split(".") if pre]
    return (*map(int, release.split(".")), not pre, tuple(parts))


_KEYS: Mapping[str, Callable[[str], Key | None]] = {
    "deb": _deb,
    "rpm": _rpm,
    "apk": _apk,
    "pypi": _pypi,
    "npm": _npm,
}
