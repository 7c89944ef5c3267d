"""Which tasks the words on the command line mean, of those that there are, and of those that come with them."""

from __future__ import annotations

import fnmatch
from collections.abc import Container, Mapping, Sequence
from typing import Any

from doit.control import TaskControl
from doit.exceptions import InvalidCommand, InvalidTask

from c2wtasks.engine.config import Hooks
from c2wtasks.errors import nearest, one_line, program

_SHOWN = 200  # characters of a word


def selected(
    command: Any, hooks: Hooks, commands: Sequence[str] = (), **options: Any
) -> tuple[TaskControl, list[str] | None]:
    """doit's control, with these options, of the tasks of a command; and the tasks that are selected, None for all.
    What was not found out for the words' sake is, where they need it all the same. `commands` as in `resolve`.

    Raises InvalidCommand, InvalidTask.
    """
    while True:
        try:
            control = TaskControl(command.task_list, **options)
            names = command.sel_tasks
            if names is not None:
                names = resolve(names, control.tasks, control.targets, hooks.aliases, commands)
        except InvalidTask:  # one that another's needs
            if not hooks.widen(needed=True):
                raise
        except InvalidCommand:
            others = any(task.name.partition(":")[0] not in hooks.families for task in command.task_list)
            if not (others and hooks.widen(needed=False)):
                raise
        else:
            if not hooks.widen(needed=False):
                return control, names
        command.task_list = command.load_tasks()


def resolve(
    words: Sequence[str],
    tasks: Mapping[str, Any],
    targets: Container[str],
    aliases: Mapping[str, tuple[str, ...]],
    commands: Sequence[str] = (),
) -> list[str]:
    """`words` with aliases and patterns replaced by the names of tasks.

    A word is the name of a task, a target, an alias, or a pattern over task names or, where none fits, over
    aliases. From the first task that takes options on, the rest is its own and left to doit. The first word may have
    been meant for one of the `commands`.

    Raises InvalidCommand for a word that means nothing.
    """
    names: dict[str, None] = {}
    for position, word in enumerate(words):
        task = tasks.get(word)
        if task is not None and (task.params or task.creator_params or task.pos_arg):
            return [*names, *words[position:]]
        try:
            names.update(dict.fromkeys(_meaning(word, tasks, targets, aliases)))
        except InvalidCommand:
            if word in commands:
                raise InvalidCommand(f"'{word}' is a command, which comes first: {program()} {word}") from None
            command = nearest(word, commands) if position == 0 else None
            if command is None or nearest(word, aliases):
                raise
            raise InvalidCommand(f"'{one_line(word, _SHOWN)}' is no command; did you mean {command}?") from None
    return list(names)


def _meaning(
    word: str, tasks: Mapping[str, Any], targets: Container[str], aliases: Mapping[str, tuple[str, ...]]
) -> Sequence[str]:
    if word in tasks or word in targets or word.startswith("-"):
        return [word]
    if word in aliases:
        return aliases[word]
    if "*" in word:
        found = fnmatch.filter(tasks, word)
        found = found or [name for alias in fnmatch.filter(aliases, word) for name in aliases[alias]]
        if found:
            return found
        raise InvalidCommand(f"'{one_line(word, _SHOWN)}' fits no task{_near(word, [*aliases, *tasks])}")
    if any(task.loader for task in tasks.values()):
        return [word]  # may be the name of a task that doit creates later
    raise InvalidCommand(f"'{one_line(word, _SHOWN)}' is no task, bundle or target{_near(word, [*aliases, *tasks])}")


def _near(word: str, names: list[str]) -> str:
    import difflib  # where all is well, nothing is misspelt

    near = difflib.get_close_matches(word.replace("*", "")[:_SHOWN], names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; '{program()} list --all' shows all tasks"
