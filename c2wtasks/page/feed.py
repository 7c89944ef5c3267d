"""Feeds of what changed, in Atom (RFC 4287)."""

from __future__ import annotations

import jinja2
import msgspec

from c2wtasks.page.html import environment
from c2wtasks.page.model import Change

_LINES = 100  # of one change

AUTHORITY = "c2wtasks.invalid,2026"
"""Who gives the ids (RFC 4151). The name is nobody's: the catalog's identity in them makes them its own alone."""


class Entry(msgspec.Struct, frozen=True):
    """What one run changed. `id` never changes, nor does anything else here once the run is over."""

    id: str
    title: str
    updated: str
    changes: tuple[Change, ...]


class Feed(msgspec.Struct, frozen=True):
    """The entries, the last one first; `name` is that of the file, and `page` where the page is from there."""

    id: str
    title: str
    name: str
    page: str
    entries: tuple[Entry, ...]


def tag(*parts: str) -> str:
    """The id that is made of these parts: letters, digits and what else a URI takes as it is."""
    return f"tag:{AUTHORITY}:{'/'.join(parts)}"


def template() -> jinja2.Template:
    """What `render` needs, for many feeds."""
    return environment().get_template("feed.atom")


def render(feed: Feed, made: jinja2.Template) -> bytes:
    """The text of a feed: equal for equal feeds."""
    return made.render(feed=feed, most=_LINES).encode()
