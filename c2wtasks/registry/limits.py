"""How long and how often registries are waited for. Times are in seconds."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_MAX_VALUE = 64  # characters of a header


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one client, in seconds where nothing else is said. It waits for `connect` until a connection
    stands, or for `hello` where a host is asked whether it speaks TLS at all; for `answer` until the headers of an
    answer are here, and for `stall` between two bytes of a body. Within `window` of waiting a body must bring `rate`
    bytes a second.

    A request is tried `attempts` times; `few_attempts` times where a mirror is asked, or a host that was given up
    before and has answered nothing since. A host that has not answered any process of the run for `silence` is given
    up after `few_attempts`, too, and each of them then waits `hello` for a connection and twice that for an answer:
    it may hold up many layers. Between two tries there are pauses from
    `first_pause` on, doubled each time up to `longest_pause`; a registry may ask for one up to `longest_wait`. Each
    `earns` bytes that a blob brought allow for one more try of it. `per_host` connections are open at once. A host
    that has not answered for `gone` is not asked at all.
    """

    connect: float = 10
    hello: float = 5
    answer: float = 60
    stall: float = 30
    window: float = 30
    rate: int = 1024
    silence: float = 40
    attempts: int = 6
    few_attempts: int = 2
    first_pause: float = 0.5
    longest_pause: float = 30
    longest_wait: float = 300
    earns: int = 16 << 20
    per_host: int = 6
    gone: float = math.inf

    def pause(self, failures: int) -> float:
        """How long to wait after so many failures: half of it by chance, so that many clients do not come back at
        once."""
        longest = min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 1, 32))
        return longest * random.uniform(0.5, 1)


DEFAULT = Limits()
BRIEF = Limits(connect=1.5, hello=1.5, answer=2, stall=1.5, attempts=1, few_attempts=1, per_host=8, gone=1)
"""Those of commands that only look, and say what they know."""


def retry_after(value: str | None, now: float) -> float | None:
    """The seconds that a Retry-After header asks for, which may give them or a date; `now` is seconds since 1970."""
    value = (value or "").strip()[:_MAX_VALUE]
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError, TypeError, IndexError):  # no date, or one that is beyond all dates
        return None
