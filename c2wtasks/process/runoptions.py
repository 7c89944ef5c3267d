"""How the graph is to be loaded: what the command, its options and the environment say beyond bundle.yaml."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

LOCKED = "C2WTASKS_LOCKED"
OFFLINE = "C2WTASKS_OFFLINE"
"""Variables that stand for `doit --locked` and `doit --offline`, where they are neither empty nor 0."""
SHARD = "C2WTASKS_SHARD"
"""The variable that says which bundles this machine builds: `3/8` is the third of eight shards; empty for all."""


LooksUp = Literal["not", "here", "briefly", "patiently", "meanwhile"]
"""How the images of bundles are looked up. "not" at all: there are bundles, but none of them is made. "here": by what
the lock, the cache and the disk tell, without asking a registry. "briefly": a registry that does not answer at once
is not waited for. "meanwhile": patiently, but the graph may be loaded before all images are known, as the command
takes in the others later."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`locked`: bundle.lock has to fit, and is not changed. `offline`: no registry is asked. `strict`: what a run
    would only note of a bundle fails it. `shard` is the text that says which of several machines this is, "" where
    it is the only one.

    `looks`: nothing is written. `afresh`: nothing that was learnt of images before is taken for true. `words` are the
    names on the command line, none where it is for all: for the others no registry is asked.
    """

    locked: bool = False
    offline: bool = False
    strict: bool = False
    shard: str = ""
    looks: bool = False
    afresh: bool = False
    looks_up: LooksUp = "patiently"
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> RunOptions:
        """What the environment says."""
        shard = environ.get(SHARD, "")
        return cls(locked=_is_set(environ, LOCKED), offline=_is_set(environ, OFFLINE), shard=shard)


_of_command: RunOptions | None = None


def use(options: RunOptions) -> None:
    """Makes `options` those of the command that this process runs. doit loads the dodo without arguments, so they
    cannot be handed to it."""
    global _of_command
    _of_command = options


def current() -> RunOptions:
    """The options of the command; where none of ours is at work, what the environment says."""
    return _of_command or RunOptions.of(os.environ)


def _is_set(environ: Mapping[str, str], variable: str) -> bool:
    return environ.get(variable, "") not in ("", "0")
