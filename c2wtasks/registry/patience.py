"""How often something is tried again, and what is said of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

from c2wtasks.registry import silence
from c2wtasks.registry.errors import Broken, RegistryError
from c2wtasks.registry.limits import Limits
from c2wtasks.telling.notices import tell

tell_once = lru_cache(256)(tell)


class Patience:
    """Tries something `attempts` times in all, then calls `give_up`."""

    def __init__(self, waiting: Limits, name: str, attempts: int, give_up: Callable[[], None]) -> None:
        self._limits = waiting
        self._name = name
        self._failures = 0
        self._left = attempts - 1
        self._give_up = give_up
        self._came = 0
        self._once = False

    def came(self, count: int) -> None:
        """Bytes have come: with many, one more try is worth it."""
        self._came += count
        while self._came >= self._limits.earns:
            self._came -= self._limits.earns
            self._left += 1
            self._failures = 0

    def after(self, error: Broken) -> None:
        """Waits before the next try, and says so. Raises RegistryError where there is none."""
        wait = error.wait or 0.0
        if wait > self._limits.longest_wait:
            raise RegistryError(f"{self._name}: {error.reason}; it asks to wait {wait:.0f} s", hint="run again then")
        tries = self._failures + 1
        is_gone = silence.lasts(error.silent) > self._limits.silence and tries >= self._limits.few_attempts
        if self._left == 0 or (error.once and self._once) or is_gone:
            self._give_up()
            last = ", the last of several tries" if self._limits.attempts > 1 else ""
            raise RegistryError(f"{self._name}: {error.reason}{last}", hint=error.hint)
        self._once = error.once
        self._left -= 1
        self._failures += 1
        pause = wait or self._limits.pause(self._failures)
        tell(f"{self._name}: {error.reason}; trying again in {pause:.1f} s")
        time.sleep(pause)
