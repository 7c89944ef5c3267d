"""YAML text as a tree of light nodes, each of which knows its place.

PyYAML parses; the tree is built here from its events, without recursion, because its own composer recurses
into the input, makes heavier nodes and guesses types by YAML 1.1 (`no` a boolean, `017` fifteen, `1:30`
ninety). Here a scalar is its text and whether it was written plain; what that means is for the key to say.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from c2wtasks.bundlefile.position import Position
from c2wtasks.bundlefile.problems import Problems

# A file needs no more than eight levels; merge keys and checks recurse, so the tree must not be deep.
MAX_DEPTH = 64
# What aliases may add to a file: a constant, and ten times what it holds itself.
MAX_ALIASED = 100_000
MAX_ALIASED_RATIO = 10

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_YAML_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(_YAML_TAG + name for name in ("int", "float", "bool", "null", "merge"))
_TEXT_TAGS = frozenset(("!", _YAML_TAG + "str"))


class _Placed:
    """What all nodes have: file and place, counted from 1. The parser's mark is kept, as most are never asked."""

    __slots__ = ("_mark", "file")

    def __init__(self, file: str, mark: Any) -> None:
        self.file = file
        self._mark = mark

    @property
    def line(self) -> int:
        return 1 if self._mark is None else int(self._mark.line) + 1

    @property
    def column(self) -> int:
        return 1 if self._mark is None else int(self._mark.column) + 1


class Scalar(_Placed):
    """A value that is no collection. `plain`: written without quotes, so that it may mean more than its text."""

    __slots__ = ("plain", "text")

    def __init__(self, file: str, mark: Any, text: str, plain: bool) -> None:
        self.file = file
        self._mark = mark
        self.text = text
        self.plain = plain


class Sequence(_Placed):
    """A list."""

    __slots__ = ("items",)

    items: list[Node]


class Mapping(_Placed):
    """Pairs of key and value as written: a key may be any node, may come twice, may be the merge key `<<`."""

    __slots__ = ("pairs",)

    pairs: list[tuple[Node, Node]]


Node = Scalar | Sequence | Mapping

_COLLECTION_TAGS = {Sequence: ("!", _YAML_TAG + "seq"), Mapping: ("!", _YAML_TAG + "map")}


def position_of(node: Node) -> Position:
    """Where a node begins."""
    return Position(node.file, node.line, node.column)


def parse(text: str, file: str, report: Problems) -> Node | None:
    """The one document in `text`; an empty plain Scalar where there is none, None where it could not be read.

    Reported: what is not YAML, characters YAML does not allow, a second document, tags, aliases that are
    undefined, recursive or multiply beyond measure, nesting deeper than MAX_DEPTH.
    """
    if bad := _UNPRINTABLE.search(text):
        place = position_in(text, bad.start(), file)
        report.add(place, "", f"not YAML: the character U+{ord(bad[0]):04X} is not allowed")
        return None
    try:
        return _Composer(file, report).compose(text)
    except _Refused as refused:
        report.add(refused.place, "", refused.wrong, refused.hint)
    except yaml.MarkedYAMLError as error:
        report.add(_place_of(error, file), "", *_explained(error, text))
    except yaml.YAMLError as error:  # the reader's, without a place; the check above leaves none that we know of
        report.add(Position(file, 1, 1), "", f"not YAML: {error}")
    return None


def position_in(text: str, offset: int, file: str) -> Position:
    """Line and column, both from 1, of the character number `offset` of `text`."""
    start = text.rfind("\n", 0, offset) + 1
    return Position(file, text.count("\n", 0, offset) + 1, offset - start + 1)


class _Refused(Exception):
    """Valid YAML that is not taken; ends the reading of this file."""

    def __init__(self, place: Position, wrong: str, hint: str | None = None) -> None:
        super().__init__(place, wrong, hint)
        self.place = place
        self.wrong = wrong
        self.hint = hint


class _Open:
    """A collection that has begun and not ended: its children so far, keys and values of a mapping in turn.

    `begun` is how many nodes came before it, `height` how many levels it has so far, aliases expanded.
    """

    __slots__ = ("anchor", "begun", "children", "height", "node")

    def __init__(self, node: Sequence | Mapping, anchor: str | None, begun: int) -> None:
        self.node = node
        self.anchor = anchor
        self.begun = begun
        self.children: list[Node] = []
        self.height = 2


class _Anchored(NamedTuple):
    """What an anchor names, with its number of nodes and levels, aliases expanded."""

    node: Node
    size: int
    height: int


class _Composer:
    """Builds the tree of one file's nodes."""

    def __init__(self, file: str, report: Problems) -> None:
        self._file = file
        self._report = report
        self._open: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}  # None while the collection is still open
        self._written = 0
        self._aliased = 0

    def compose(self, text: str) -> Node:
        loader = _LOADER(text)
        try:
            return self._document(loader.get_event)
        finally:
            loader.dispose()

    def _document(self, get_event: Any) -> Node:
        # The loop runs once a node: what most nodes need is done in place.
        file, open_ = self._file, self._open
        scalar, end_of_mapping, end_of_sequence = yaml.ScalarEvent, yaml.MappingEndEvent, yaml.SequenceEndEvent
        roots: list[Node] = []
        children = roots
        documents = 0
        while True:
            event = get_event()
            kind = type(event)
            if kind is scalar:
                self._written += 1
                node = Scalar(file, event.start_mark, event.value, event.implicit[0])
                children.append(node)
                if event.tag is not None or event.anchor is not None:
                    self._adorn(node, event)
            elif kind is end_of_mapping or kind is end_of_sequence:
                self._end()
                children = open_[-1].children if open_ else roots
            elif kind is yaml.MappingStartEvent:
                children = self._begin(event, Mapping(file, event.start_mark), children)
            elif kind is yaml.SequenceStartEvent:
                children = self._begin(event, Sequence(file, event.start_mark), children)
            elif kind is yaml.AliasEvent:
                children.append(self._alias(event))
            elif kind is yaml.StreamEndEvent:
                return roots[0] if roots else Scalar(file, None, "", True)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise _Refused(self._at(event), "a second YAML document begins here; a file holds one")

    def _adorn(self, node: Scalar, event: Any) -> None:
        """Takes note of a scalar's tag and anchor."""
        tag = event.tag
        if tag is not None:
            node.plain = tag in _PLAIN_TAGS
            if tag not in _PLAIN_TAGS and tag not in _TEXT_TAGS:
                self._unknown_tag(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(node, 1, 1)

    def _begin(self, event: Any, node: Sequence | Mapping, siblings: list[Node]) -> list[Node]:
        """Opens a collection; gives the list for its children."""
        if len(self._open) >= MAX_DEPTH:
            raise _Refused(self._at(event), f"nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None and event.tag not in _COLLECTION_TAGS[type(node)]:
            self._unknown_tag(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        siblings.append(node)
        opened = _Open(node, event.anchor, self._written + self._aliased)
        self._open.append(opened)
        self._written += 1
        return opened.children

    def _end(self) -> None:
        ended = self._open.pop()
        children = ended.children
        if isinstance(ended.node, Mapping):
            ended.node.pairs = list(zip(children[::2], children[1::2], strict=True))
        else:
            ended.node.items = children
        if ended.anchor is not None:
            size = self._written + self._aliased - ended.begun
            self._anchors[ended.anchor] = _Anchored(ended.node, size, ended.height)
        self._raise_height(ended.height + 1)

    def _raise_height(self, height: int) -> None:
        if self._open and self._open[-1].height < height:
            self._open[-1].height = height

    def _alias(self, event: Any) -> Node:
        name = event.anchor
        if name not in self._anchors:
            raise _Refused(
                self._at(event),
                f"alias '*{name}': no anchor '&{name}' stands before it",
                "if it is none: put it in quotes",
            )
        target = self._anchors[name]
        if target is None:
            raise _Refused(self._at(event), f"alias '*{name}': stands inside what it repeats")
        self._aliased += target.size
        if self._aliased > MAX_ALIASED + MAX_ALIASED_RATIO * self._written:
            raise _Refused(self._at(event), f"alias '*{name}': aliases repeat more than {MAX_ALIASED} nodes")
        if len(self._open) + target.height > MAX_DEPTH:
            raise _Refused(self._at(event), f"alias '*{name}': nested deeper than {MAX_DEPTH} levels")
        self._raise_height(target.height + 1)
        return target.node

    def _unknown_tag(self, event: Any) -> None:
        tag = event.tag.replace(_YAML_TAG, "!!")
        hint = "name the file under 'include', at the top level" if tag == "!include" else "leave it out"
        self._report.add(self._at(event), "", f"tag '{tag}' is not known", hint)

    def _at(self, event: Any) -> Position:
        return Position(self._file, event.start_mark.line + 1, event.start_mark.column + 1)


def _place_of(error: yaml.MarkedYAMLError, file: str) -> Position:
    mark = error.problem_mark or error.context_mark
    return Position(file, 1, 1) if mark is None else Position(file, mark.line + 1, mark.column + 1)


def _explained(error: yaml.MarkedYAMLError, text: str) -> tuple[str, str | None]:
    """What the parser found, where the thing began that it was reading, and a remedy for tabs."""
    if error.problem == "exceeded maximum nesting depth":
        return f"nested deeper than {MAX_DEPTH} levels", None  # libyaml's own limit, where it reads far ahead
    wrong = f"not YAML: {error.problem or error.context}"
    begun, mark = error.context_mark, error.problem_mark
    if error.problem and error.context and begun and mark and (begun.line, begun.column) != (mark.line, mark.column):
        wrong += f" ({error.context} that began at {begun.line + 1}:{begun.column + 1})"
    if error.context in ("while scanning an alias", "while scanning an anchor") and begun is not None:
        return wrong, _in_quotes(text, begun)
    if mark is not None:
        if _sign(text, mark) == "\t":
            return wrong, "indent with spaces, not tabs"
        if error.problem == "found character that cannot start any token":
            return wrong, _in_quotes(text, mark)
    return wrong, None


def _in_quotes(text: str, mark: Any) -> str | None:
    sign = _sign(text, mark)
    return f"put what begins with {sign} in quotes" if sign else None


def _sign(text: str, mark: Any) -> str:
    """The character at a mark; "" where there is none, as lines end at U+0085, too, in YAML."""
    lines = text.split("\n", mark.line + 1)
    return lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""
