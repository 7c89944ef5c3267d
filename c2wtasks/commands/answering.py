"""What commands say of bundles where a seal tells that all is current, beyond what the seal holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from c2wtasks.engine.settled import Answer


def say(answer: Answer) -> bool:
    """Prints what `list`, or `why` of a name, says; tells whether it could find it out."""
    from c2wtasks.errors import UserError, one_line

    try:
        lines = list(_table(answer) if answer.command == "list" else _past(answer))
    except (OSError, ValueError, UserError):
        return False
    sys.stdout.write("".join(f"{one_line(line)}\n" for line in lines))
    sys.stdout.flush()
    return answer.command != "why" or answer.say()


def _past(answer: Answer) -> Iterator[str]:
    """Raises OutputError."""
    from c2wtasks.output.past import last, told

    return told(last(answer.output, [(bundle, bundle.partition("@")[0]) for bundle in answer.bundles]))


def _table(answer: Answer) -> Iterator[str]:
    """Raises OSError, ValueError: it cannot be told."""
    from c2wtasks.commands.rows import lines, of_current

    return lines(of_current(answer.output, answer.bundles))
