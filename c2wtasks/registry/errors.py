"""What can go wrong with a registry. No message holds a credential, or a URL's query, which may be one."""

from __future__ import annotations

from c2wtasks.errors import SourceError


class RegistryError(SourceError):
    """A registry cannot be used, or does not give what was asked for."""


class Broken(Exception):
    """A try that failed in a way that another may not. `reason` is for messages: "no data for 30 s".

    `wait` is how many seconds the registry asks to wait, None where it does not.
    """

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
