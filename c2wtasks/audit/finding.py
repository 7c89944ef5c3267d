"""What an audit finds: something that is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from c2wtasks.disk.safely import Identity
from c2wtasks.errors import of_the_machine, os_reason, printable

MISSING = "missing"
PRESENT = "there"


class Finding(msgspec.Struct, frozen=True):
    """At `path`, `what` should be `want` and is `have`. All are printable."""

    path: str
    what: str
    want: str
    have: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}: want {self.want}, have {self.have}"


@dataclass(slots=True)
class Findings:
    """What was found of a bundle or a root. `unread` are the paths of files and folders whose content could not be
    looked at, each with the reason; `linked` are the files with findings that have more names, with these."""

    findings: list[Finding] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    linked: dict[Identity, list[Finding]] = field(default_factory=dict)

    def find(self, path: str, what: str, want: str, have: str) -> None:
        """Adds a finding."""
        self.findings.append(Finding(shown(path), what, want, have))


def reason(error: OSError) -> str:
    """What a finding says of an error. Raises MachineError, where that says nothing of what was looked at."""
    if (machine := of_the_machine(error, error.filename)) is not None:
        raise machine from error
    return os_reason(error)


def missing(path: str, what: str) -> Finding:
    """The finding that `what` is not there at `path`."""
    return Finding(shown(path), what, PRESENT, MISSING)


def shown(name: bytes | str) -> str:
    """A file's name or path as printable text, whatever its bytes are."""
    raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
    return printable(raw.decode("utf-8", "backslashreplace"))
