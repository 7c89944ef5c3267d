"""A row of the table of settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from c2wtasks.bundlefile.values import Kind

Only = Literal["", "main", "image"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its key path, its kind of value, and what the reference page says of it.

    `only` is "main" for what just the main file may set, "image" for what `defaults` may not. `required` is
    the remedy to offer where the setting is missing, empty if it may be.
    """

    path: str
    kind: Kind
    default: str
    help: str
    example: str
    only: Only = ""
    required: str = ""

    @property
    def parent(self) -> str:
        """The key path of the mapping that it stands in, "" for the file itself."""
        return self.path.rpartition(".")[0]

    @property
    def key(self) -> str:
        """The last part of its key path."""
        return self.path.rpartition(".")[2]
