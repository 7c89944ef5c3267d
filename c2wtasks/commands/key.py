"""`doit key`: the keys that sign what is published, and what tells them apart."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Any

from doit.cmd_base import Command as DoitCommand
from doit.exceptions import InvalidCommand

from c2wtasks.disk import files, safely
from c2wtasks.engine.command import Command
from c2wtasks.engine.exclusive import told
from c2wtasks.errors import OutputError, UserError, one_line, os_reason
from c2wtasks.oci import signingkey
from c2wtasks.oci.signingkey import KeyProblem, MissingPackages

PASSWORD = "C2WTASKS_KEY_PASSWORD"
"""The variable with a private key's password: it may be empty, which is no protection."""
_DEFAULT = "c2wtasks"
_PRIVATE, _PUBLIC = ".key", ".pub"


class Key(Command, DoitCommand):  # type: ignore[misc]
    """Makes a key pair, and shows keys."""

    name = "key"
    doc_purpose = "make a key pair that signs what is published, or show a key"
    doc_usage = "new [NAME] | show FILE"
    doc_description = (
        f"`new` writes NAME{_PRIVATE} (for its owner alone) and NAME{_PUBLIC}; without NAME it is {_DEFAULT}. The "
        f"private key is encrypted with the password in {PASSWORD}; where that is not set, a terminal is asked. "
        "`show` prints the public key and its id. cosign takes these files, and its own are taken here. Exit status "
        "0: done. 1: a key cannot be read or written. 3: wrong command line."
    )

    def execute(self, params: Any, args: list[str]) -> int:
        match args:
            case ["new", *names] if len(names) <= 1:
                return int(told(lambda: _new(names[0] if names else _DEFAULT)))
            case ["show", file]:
                return int(told(lambda: _show(file)))
        said = f"'{one_line(' '.join(args))}': " if args else ""
        raise InvalidCommand(f"{said}write: key new [NAME], or: key show FILE")


def _new(name: str) -> int:
    private, public = f"{name}{_PRIVATE}", f"{name}{_PUBLIC}"
    for path in (private, public):
        if safely.exists(path):
            raise OutputError(f"{path}: is there already", hint="give another name: key new NAME")
    password = _password(new=True)
    try:
        key = signingkey.new()
        text = signingkey.encrypted(key, password)
        shown = signingkey.public_text(key.public_key())
    except MissingPackages as error:
        raise _missing() from error
    files.write(private, text, mode=0o600, sync=True)
    files.write(public, shown, sync=True)
    print(f"{private}: keep it secret, and its password elsewhere")
    print(f"{public}: to be given to all who are to believe what it signs")
    return 0


def _show(path: str) -> int:
    try:
        text = safely.read(path, signingkey.MAX_SIZE)
        if signingkey.is_public(text):
            key = signingkey.public(text)
        else:
            key = signingkey.decrypted(text, _password(new=False)).public_key()
        print(signingkey.public_text(key).decode(), end="")
        print(f"id {signingkey.key_id(key)}")
    except MissingPackages as error:
        raise _missing() from error
    except KeyProblem as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {os_reason(error)}") from error
    return 0


def _password(*, new: bool) -> bytes:
    """Raises UserError."""
    found = os.environ.get(PASSWORD)
    if found is not None:
        return os.fsencode(found)
    if not sys.stdin.isatty():
        raise UserError(f"the key has a password, which is not given; set {PASSWORD}, to nothing if there is none")
    password = getpass.getpass("password of the key: ")
    if new and getpass.getpass("once more: ") != password:
        raise UserError("these are two passwords; nothing was written")
    return password.encode()


def _missing() -> UserError:
    return UserError("keys need the packages cryptography and PyNaCl", hint="run: pip install 'c2wtasks[sign]'")
