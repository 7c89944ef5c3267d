"""The program `doit` of an environment that has c2wtasks: doit itself, for any dodo, that can be interrupted from its
first moment on."""

from __future__ import annotations

import sys

from c2wtasks.engine import early


def main() -> None:
    early.catch()
    from doit.doit_cmd import DoitMain

    sys.exit(DoitMain().run(sys.argv[1:]))


if __name__ == "__main__":
    main()
