"""Which distribution a root is, by its os-release(5)."""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE = re.compile(rb"""^(ID|VERSION_ID)=["']?([A-Za-z0-9._+~-]{1,64})["']?[ \t\r]*$""", re.MULTILINE)


class Distribution(NamedTuple):
    """Its name (`debian`) and its version (`12`); "" where it does not say."""

    id: str = ""
    version: str = ""


def parse(content: bytes) -> Distribution:
    """The distribution that an os-release names; the last word counts where it says a thing twice."""
    fields = {name: value.decode() for name, value in _LINE.findall(content)}
    return Distribution(fields.get(b"ID", "").lower(), fields.get(b"VERSION_ID", ""))
