"""What the page shows, as plain data. Times are in UTC (RFC 3339), sizes in bytes.

What is said of many bundles alike (layers, settings, mounts, packages) stands once, in a list of `Contents`; bundles
have its number there. The browser gets `Contents` as JSON, with these very names.
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["built", "failed", "missing"]


class Layer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One layer; `size` is that of its tar, None where that is not known; so many bundles are `users`."""

    id: str
    digest: str
    size: int | None
    users: int


class File(msgspec.Struct, frozen=True, array_like=True):
    """One file of a bundle."""

    path: str
    size: int
    sha256: str


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run did with a bundle: `state` is `new`, `changed` or `failed`. With `times`, so many runs one after
    another did the same, the first `since` then. `lines` say why: an error, or what changed."""

    when: str
    state: str
    lines: tuple[str, ...] = ()
    times: int = 1
    since: str = ""


class Trend(msgspec.Struct, frozen=True, omit_defaults=True):
    """How large a bundle was: `line` is the path of an SVG of 640 x 160 that draws it, `first` its first size."""

    line: str
    first: int


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """What runs in the VM, by spec.json; `mounts` is a number of `Contents.mounts`."""

    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    mounts: int = -1


class Bundle(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One bundle. `path` is its folder. Where it failed, what is said of its content is that of the last good one, if
    there is any (`digest` is empty where there is none). `since`: when it came into its state, "" where that is
    longer ago than is remembered. `layers`, `settings`, `packages` are numbers in the lists of `Contents`; `packages`
    has a group for each layer, and None stands for a bundle without a packages.json that can be read."""

    name: str
    platform: str
    path: str
    state: State
    error: str = ""
    since: str = ""
    source: str = ""
    digest: str = ""
    config_digest: str = ""
    size: int = 0
    entries: int = 0
    trend: Trend | None = None
    layers: tuple[int, ...] = ()
    forms: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    settings: int = -1
    overrides: tuple[str, ...] = ()
    config: Config | None = None
    packages: tuple[int, ...] | None = None
    count: int = 0
    notes: tuple[str, ...] = ()
    history: tuple[Event, ...] = ()


class Contents(msgspec.Struct, frozen=True):
    """All bundles, sorted by name and platform. A package is `type name version architecture`; a group is the numbers
    of packages that one layer brought; settings and mounts are lines."""

    bundles: tuple[Bundle, ...]
    layers: tuple[Layer, ...]
    settings: tuple[tuple[str, ...], ...]
    mounts: tuple[tuple[str, ...], ...]
    packages: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]


class Change(msgspec.Struct, frozen=True):
    """What changed, in words, with its cause where many bundles share one, and the bundles that it is about."""

    text: str
    bundles: tuple[str, ...]
    lines: tuple[str, ...] = ()


class Tonight(msgspec.Struct, frozen=True):
    """The last run that was remembered: when it `began`, and how many bundles it built, left as they were, and could
    not build; and what `changes` that brought."""

    began: str
    built: int
    current: int
    failed: int
    changes: tuple[Change, ...] = ()


class Page(msgspec.Struct, frozen=True):
    """The whole page. `saved`: by how many bytes the layer store is smaller since bundles share layers."""

    title: str
    tonight: Tonight | None
    size: int
    saved: int
    contents: Contents
    feeds: bool = True
