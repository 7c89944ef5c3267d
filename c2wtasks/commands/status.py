"""What our commands ask of our graph: that it is ours, and what of it is stale."""

from __future__ import annotations

from typing import Any

from doit.control import TaskControl
from doit.exceptions import InvalidCommand

from c2wtasks.engine.build import check_engine
from c2wtasks.engine.command import hooks_of
from c2wtasks.engine.runner import adopt
from c2wtasks.engine.select import resolve
from c2wtasks.engine.stale import Stale, find_stale, in_order
from c2wtasks.graph.graph import Graph


def our_graph(command: Any) -> Graph:
    """The graph of the dodo that `command` has loaded.

    Raises InvalidCommand where it is not ours.
    """
    graph = hooks_of(command)
    if not isinstance(graph, Graph):
        raise InvalidCommand("this dodo.py is not one of ours; copy the one that comes with c2wtasks")
    check_engine(command)
    return graph


def stale_tasks(command: Any) -> tuple[list[Stale], int]:
    """The tasks that a run of the command's selection would execute, in that order; and how many were looked at.

    Raises InvalidCommand: a word names nothing.
    """
    graph = our_graph(command)
    control = TaskControl(command.task_list)
    selected = command.sel_tasks
    if selected is not None:
        selected = resolve(selected, control.tasks, control.targets, graph.aliases)
    control.process(selected)
    adopt(command.dep_manager, control.tasks, graph.proven())
    names = in_order(control)
    found = find_stale(command.dep_manager, control, names)
    return found, len(names)
