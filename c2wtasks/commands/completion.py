"""`doit completion`: what makes a shell complete commands, images and bundles."""

from __future__ import annotations

from typing import Any

from doit.cmd_base import Command as DoitCommand
from doit.exceptions import InvalidCommand

from c2wtasks.engine.command import Command

_BASH = """\
_c2wtasks() {
    local line="${COMP_LINE:0:COMP_POINT}" word head
    word="${line##*[[:space:]]}"
    head="${word%"${word##*[@:=]}"}" # bash begins a new word after each of these
    COMPREPLY=($(compgen -W "$(c2wtasks completion --words "$word" 2>/dev/null)" -- "$word"))
    COMPREPLY=("${COMPREPLY[@]#"$head"}")
}
complete -o default -F _c2wtasks c2wtasks doit
"""
_ZSH = """\
#compdef c2wtasks doit
_c2wtasks() {
    local -a found
    found=(${(f)"$(c2wtasks completion --words "$PREFIX" 2>/dev/null)"})
    compadd -a found
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i; }
compdef _c2wtasks c2wtasks doit
"""
_FISH = """\
function __c2wtasks_words
    c2wtasks completion --words (commandline --current-token) 2>/dev/null
end
for program in c2wtasks doit
    complete --command $program --no-files --arguments '(__c2wtasks_words)'
end
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

_WORDS = {
    "name": "words",
    "long": "words",
    "type": bool,
    "default": False,
    "help": "for the scripts: the words that begin so",
}


class Completion(Command, DoitCommand):  # type: ignore[misc]
    """Prints the script for a shell."""

    name = "completion"
    doc_purpose = "write what makes a shell complete images and bundles"
    doc_usage = "bash | zsh | fish"
    doc_description = (
        'For this shell: eval "$(c2wtasks completion bash)"; with zsh the same; with fish: '
        "c2wtasks completion fish | source. Exit status 0. 3: wrong command line."
    )
    cmd_options = (_WORDS,)

    def execute(self, params: Any, args: list[str]) -> int:
        if params["words"]:
            from c2wtasks.commands.words import show

            show(args)
        elif len(args) == 1 and args[0] in SCRIPTS:
            print(SCRIPTS[args[0]], end="")
        else:
            raise InvalidCommand(f"name one shell: {', '.join(SCRIPTS)}")
        return 0
