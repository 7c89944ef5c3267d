"""What can go wrong with a registry. No message holds a credential, or a URL's query, which may be one."""

from __future__ import annotations

from c2wtasks.errors import SourceError


class RegistryError(SourceError):
    """A registry cannot be used, or does not give what was asked for."""


class NotThere(RegistryError):
    """A registry answers, and has no such image or blob."""


class Broken(Exception):
    """A try that failed in a way that another may not. `reason` is for messages: "no data for 30 s".

    `wait` is how many seconds the registry asks to wait, None where it does not. With `once` one more try may help,
    and no third. `hint` is what to do where none helped. `silent` is the host that did not answer at all, if so.
    """

    silent = ""

    def __init__(
        self, reason: str, *, wait: float | None = None, once: bool = False, hint: str = "run again later"
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.once = once
        self.hint = hint
