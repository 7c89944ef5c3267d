"""What every command on our graph keeps to: no other is at work meanwhile, and an error is one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from doit.cmdparse import CmdParseError
from doit.exceptions import InvalidCommand, InvalidDodoFile, InvalidTask

from c2wtasks.disk import locks
from c2wtasks.disk.locks import Held
from c2wtasks.engine.config import Hooks
from c2wtasks.engine.interrupt import signals
from c2wtasks.engine.outcome import DONE, FAILED
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.telling import stages
from c2wtasks.telling.notices import tell

_STATE_ELSEWHERE = "--db-file FILE puts the record, and its lock beside it, elsewhere"


def told(work: Callable[[], Any], otherwise: Any = FAILED) -> Any:
    """What `work` gives. `otherwise`, after a line on stderr, where it raises any error but those that doit tells: of
    the command line or the dodo."""
    try:
        return work()
    except (CmdParseError, InvalidCommand, InvalidDodoFile, InvalidTask):
        raise
    except Exception as error:
        signals.check()
        tell(str(as_user_error(error)))
        return otherwise


@contextmanager
def alone(command: Any, hooks: Hooks) -> Iterator[Held]:
    """Keeps other runs from the state file and the outputs while the block runs; waits for one that is at work.

    Nothing may be read of the state before. What a run has left that was cut short is removed first.

    Raises UserError.
    """

    def announce(holder: str) -> None:
        stages.begin(f"waiting for {holder}")
        tell(f"waiting for {holder}, which is at work here")

    with locks.locked(f"{command.dep_manager.backend.name}.lock", announce, elsewhere=_STATE_ELSEWHERE) as held:
        if held.died:
            held.unfinished = True  # and stays so where that fails
            stages.begin("removing what the last run left unfinished")
            hooks.recover()
            held.recovered()
            held.unfinished = False
        yield held


def exclusively(command: Any, hooks: Hooks, change: Callable[[], Any]) -> int:
    """Makes a change to outputs or state while no run is at work, and gives the exit code."""

    def changed() -> int:
        with alone(command, hooks):
            return change() or DONE

    return int(told(changed))
