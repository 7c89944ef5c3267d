"""The options of a command line: before the names or after them, and what is meant where one is misspelt.

doit loads this for every dodo of the environment it is installed in, so little else is imported here.
"""

from __future__ import annotations

import getopt
from collections.abc import Sequence
from typing import Any

from doit.cmdparse import CmdOption, CmdParse, CmdParseError


class Parser(CmdParse):  # type: ignore[misc]
    """doit's, for the command `name`, which begins with the program: `doit why`.

    `any_order`: options may stand after words, too; not for commands that hand the rest to tasks. `more` are long
    options that are taken before this is asked, for hints.
    """

    def __init__(
        self, options: Sequence[CmdOption], name: str, *, any_order: bool = True, more: Sequence[str] = ()
    ) -> None:
        super().__init__(options)
        self._name = name
        self._split = getopt.gnu_getopt if any_order else getopt.getopt
        self._more = more

    def parse_only(self, in_args: Sequence[str], params: Any = None) -> tuple[Any, list[str]]:
        """The options and the words of a command line. Raises CmdParseError."""
        params = {} if params is None else params
        try:
            found, words = self._split(list(in_args), self.get_short(), self.get_long())
        except getopt.GetoptError as error:
            raise CmdParseError(f"{self._name}: {error}\n{self._hint(error.opt)}") from None
        for given, text in found:
            option, inverse = self.get_option(given)
            if option.type is bool:
                params[option.name] = not inverse
            elif option.type is list:
                params[option.name].append(text)
            else:
                params[option.name] = self._value(option, given, text)
        return params, words

    def _value(self, option: CmdOption, given: str, text: str) -> Any:
        if option.type is int:
            try:
                return int(text)
            except ValueError:
                raise CmdParseError(f"{self._name}: {given} {text}: expected a number") from None
        return option.str2type(text)

    def _hint(self, option: str) -> str:
        """What to do about an option that is wrong; it comes without its dashes."""
        from c2wtasks.errors import nearest  # not for the dodos of others

        known = [long.rstrip("=") for long in self.get_long()] + [word.lstrip("-") for word in self._more]
        meant = nearest(option, known) if len(option) > 1 and option not in known else None
        program, _, command = self._name.rpartition(" ")
        return f"did you mean --{meant}?" if meant else f"its options: {program} help {command}"
