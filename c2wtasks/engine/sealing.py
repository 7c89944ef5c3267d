"""What a run that ends with everything current leaves for the next one (see `settled`)."""

from __future__ import annotations

import ast
import os
import site
import sys
import sysconfig
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any
from zlib import crc32

from c2wtasks.disk import files
from c2wtasks.disk.filestate import tick_ns
from c2wtasks.engine import settled
from c2wtasks.engine.checks import Check
from c2wtasks.engine.config import configure
from c2wtasks.engine.meta import meta_of
from c2wtasks.engine.settled import LOOKS, Found, LookedAt, facts, state_of, target_of
from c2wtasks.engine.tally import Tally
from c2wtasks.errors import OutputError

_DODO = "dodo.py"
_CONFIGURATION = ("doit.cfg", "pyproject.toml")
_READERS = {"open", "input", "exec", "eval", "compile", "__import__", "globals", "locals", "vars", "getattr"}


def seal(tasks: dict[str, Any], record: str, until_ns: int, answers: bytes, looked_at: LookedAt) -> None:
    """Leaves the seal of a run in which all `tasks` were current. `record` is doit's record of them; `looked_at` is
    what the graph looked at to make them, and gets what they look at themselves. `answers` is what to say again.

    Where something cannot be sealed (it has just changed, a task has checks of others, a dodo may look at what nobody
    knows), nothing is left.
    """
    try:
        if os.path.lexists(_DODO) and not _is_plain(_DODO):
            return
        for task in tasks.values():
            _look_at(task, looked_at)
        for path in (_DODO, record, *_CONFIGURATION, *_modules()):
            looked_at.file(path)
        looked_at.absent.add(f"{record}.lock")
        files.write(settled.FILE, _sealed(until_ns, answers, looked_at))
    except (OSError, ValueError, OutputError, SyntaxError):
        return


def found(
    command: Any, tasks: Mapping[str, Any], current: Set[str], counted: str, *, quiet: bool
) -> dict[str, Found]:
    """What a run of `command` found current, by the names that may be asked for. "" is all, which it `counted`.

    Other commands than a run are answered only where all `tasks` are current, and no configuration says how they are
    to be; single bundles only where the run was `quiet`, so that no line at its end was of others.
    """
    hooks = command.hooks()
    aliases: Mapping[str, Sequence[str]] = hooks.aliases
    all_known = current == tasks.keys() and not command.config
    if not all_known or command.loader.load_doit_config() != configure(hooks):
        return {"": (counted, 0, ())}
    products = dict.fromkeys(meta_of(tasks[name]).get("product", "") for names in aliases.values() for name in names)
    known: dict[str, Found] = {"": (counted, len(tasks), tuple(products))}
    others = {*command.commands, *tasks, *(target for task in tasks.values() for target in task.targets)}
    for alias in aliases.keys() - others if quiet else ():
        known[alias] = _of_some(tasks, aliases[alias])
    return known


def _of_some(tasks: Mapping[str, Any], names: Iterable[str]) -> Found:
    """What a run of the tasks `names` would find, where all tasks are current."""
    needed, left = set(names), list(names)
    while left:
        new = set(tasks[left.pop()].task_dep) - needed
        needed |= new
        left += new
    products = {product: None for name in names if (product := meta_of(tasks[name]).get("product"))}
    tally = Tally()
    tally.products = dict.fromkeys(products, "current")
    return tally.counts(), len(needed), tuple(products)


def _sealed(until_ns: int, answers: bytes, looked_at: LookedAt) -> bytes:
    """The content of a seal.

    Raises OSError: something that was looked at is not there, or is there now and was not; ValueError: it may have
    changed since this run began.
    """
    links = [path for path in looked_at.files if os.path.islink(path)]
    sorts = [sorted(paths) for paths in (looked_at.files, links, looked_at.access, looked_at.listed)]
    states = array("q")
    for paths, look in zip(sorts, LOOKS, strict=True):
        for path in paths:
            state = look(path)
            if look in (state_of, target_of) and state[1] >= settled.started_ns - tick_ns(state[1]):
                raise ValueError(path)
            states.extend(state)
    if any(map(os.path.lexists, looked_at.absent)):
        raise FileExistsError
    named = (b"".join(os.fsencode(path) + b"\0" for path in paths) for paths in (*sorts, sorted(looked_at.absent)))
    parts = (facts(), str(until_ns).encode(), answers, *named, states.tobytes())
    rest = b"".join(parts)
    return b" ".join(str(number).encode() for number in (*map(len, parts), crc32(rest))) + b"\n" + rest


def _look_at(task: Any, looked_at: LookedAt) -> None:
    """Raises ValueError: the task has a check that is none of ours."""
    for path in (*task.file_dep, *task.targets):
        looked_at.file(path)
    for check, *_ in task.uptodate:
        if not isinstance(check, Check):
            raise ValueError(task.name)
        for path in check.paths():
            looked_at.file(path)


def _is_plain(path: str) -> bool:
    """Whether a dodo imports nothing but our modules, and names no function that could read anything else: then its
    own text is all that its tasks follow from.

    Raises OSError, SyntaxError, ValueError.
    """
    with open(path, "rb") as stream:
        tree = ast.parse(stream.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [node.module or ""]
        else:
            if isinstance(node, ast.Name) and node.id in _READERS:
                return False
            continue
        if not all(name.partition(".")[0] in ("c2wtasks", "__future__") for name in imported):
            return False
    return True


def _modules() -> Iterator[str]:
    """The files of all modules that are loaded, but for Python's own: the dodo, what it imports, doit and we."""
    own = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib"))
    others = tuple(f"{folder}{os.sep}" for folder in (*site.getsitepackages(), site.getusersitepackages()))
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and (not path.startswith(own) or path.startswith(others)):
            yield path
