"""The program `doit` of an environment that has c2wtasks: doit itself, for any dodo, that can be interrupted from its
first moment on."""

from __future__ import annotations

import sys

from c2wtasks.engine import early, settled

_NO_COMMANDS = (["--version"], ["--help"])  # what doit answers by itself


def main() -> None:
    """Runs the command of the command line, and exits with its status."""
    early.catch()
    if sys.argv[1:3] == ["completion", "--words"]:  # each TAB
        from c2wtasks.commands import words

        words.show(sys.argv[3:])
        sys.exit(0)
    settled.begin(sys.argv[1:])
    answer = settled.stands(sys.argv[1:])
    if answer is not None and answer.is_short:
        if answer.say():
            if answer.command == "run":
                settled.note(answer)
            sys.exit(0)
        answer = None  # the ordinary way tells that it is lost
    from c2wtasks.engine import streams

    streams.secure()
    if answer is not None:
        from c2wtasks.commands import answering

        if answering.say(answer):
            sys.exit(bool(streams.settled(0)))
    from c2wtasks.commands.program import Program

    status = Program().run(sys.argv[1:])
    if sys.argv[1:2] in _NO_COMMANDS:
        status = streams.settled(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
