"""The pairs of a YAML mapping, merge keys resolved."""

from __future__ import annotations

from typing import cast

from c2wtasks.bundlefile.nodes import Mapping, Node, Scalar, Sequence, position_of
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.wording import described


def entries(report: Problems, node: Node, path: str, empty: str | None = None) -> list[tuple[Scalar, Node]]:
    """The pairs of a mapping, those of its merge keys behind its own, so that of two equal keys the first counts.

    Reported: what is no mapping, keys that are no scalars, a key given twice (both pairs are returned, for
    the second is checked too), and an empty mapping, with `empty` as the remedy, where one is given.
    """
    if not isinstance(node, Mapping):
        report.add(node, path, f"expected a mapping, found {described(node)}")
        return []
    if empty and not node.pairs:
        report.add(node, path, "the mapping is empty", empty)
    names = {key.text for key, _ in node.pairs if isinstance(key, Scalar)}
    if len(names) == len(node.pairs) and "<<" not in names:
        return cast("list[tuple[Scalar, Node]]", node.pairs)  # as nearly all are
    own: dict[str, Scalar] = {}
    pairs: list[tuple[Scalar, Node]] = []
    merged: list[Node] = []
    for key, value in node.pairs:
        if not isinstance(key, Scalar):
            free = path == "registries" or path.endswith(".env")  # where a key may be nearly anything
            hint = "put a key with special signs in quotes" if free else None
            report.add(key, path, f"expected a key, found {described(key)}", hint)
            continue
        name = key.text
        if name in own:
            report.add(
                key, f"{path}.{name}" if path else name, "is given twice", f"first at {position_of(own[name])}"
            )
        else:
            own[name] = key
        if name == "<<" and key.plain:
            merged += value.items if isinstance(value, Sequence) else [value]
        else:
            pairs.append((key, value))
    for other in merged:
        where = f"{path}.<<" if path else "<<"
        for key, value in entries(report, other, where):
            if key.text not in own:
                own[key.text] = key
                pairs.append((key, value))
    return pairs
