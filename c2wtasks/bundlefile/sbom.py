"""The documents that tell others what a bundle holds (software bills of materials): the table of their formats, and
what `sbom` may hold.

How one is written, its module in `c2wtasks/packages/` says, which has the format's name (`packages.sbom`).
"""

from __future__ import annotations

from dataclasses import dataclass

from c2wtasks.bundlefile.nodes import Node, Sequence
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.values import Kind, choice, list_of


@dataclass(frozen=True, slots=True)
class SbomFormat:
    """One format, called `kind`: the `file` of a bundle that has it, and the `title` of the specification."""

    kind: str
    file: str
    title: str


_ROWS = (
    SbomFormat("spdx", "sbom.spdx.json", "SPDX 2.3"),
    SbomFormat("cyclonedx", "sbom.cdx.json", "CycloneDX 1.6"),
)
SBOMS = {row.kind: row for row in _ROWS}
SBOM_HELP = (
    "In which formats the bundle tells others [which packages it holds](records.md#sboms): "
    f"{', '.join(f'`{row.kind}` ({row.title}, `{row.file}`)' for row in _ROWS)}. "
    "`[]` is none, where `defaults` has some."
)


def _formats(report: Problems, node: Node, path: str) -> tuple[str, ...] | None:
    """The formats that are named, in the order of the table: in which order they are asked for changes nothing."""
    if isinstance(node, Sequence) and not node.items:  # takes those of `defaults` back
        return ()
    assert _LIST.parse is not None
    found: tuple[str, ...] | None = _LIST.parse(report, node, path)
    return None if found is None else tuple(kind for kind in SBOMS if kind in found)


_WORD = choice(*SBOMS)
assert _WORD.parse is not None
_LIST = list_of(_WORD.parse, "a list of formats", "[spdx]", unique=True)
SBOM = Kind(_LIST.expects, _formats)
