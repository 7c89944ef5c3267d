"""Which certificates a host is trusted by: the system's, or those of SSL_CERT_FILE; and what certs.d adds for it."""

from __future__ import annotations

import errno
import os
import ssl
import stat
from collections.abc import Iterator, Mapping

from c2wtasks.errors import os_reason
from c2wtasks.oci.access import names_of
from c2wtasks.registry.errors import RegistryError

_MAX_FILE = 16 << 20


def context(address: str, environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """How to speak TLS with `address` (host, perhaps with a port). Its certificate is always verified.

    Raises RegistryError: a file of certificates cannot be used.
    """
    file = environ.get("SSL_CERT_FILE", "")
    try:
        made = ssl.create_default_context()  # OpenSSL looks at SSL_CERT_FILE itself, and says nothing of a bad one
        # Alike in all versions of Python (3.13 changed both), and as docker and podman have it: a CA that
        # `openssl req -x509` made will do, and so will one that another CA vouches for.
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if file:
            made.load_verify_locations(_checked(file))
        for folder in _folders(address, environ):
            for name in sorted(os.listdir(folder)):
                file = f"{folder}/{name}"
                if name.endswith(".crt"):
                    made.load_verify_locations(_checked(file))
                elif name.endswith(".cert"):
                    key = _checked(f"{file.removesuffix('.cert')}.key")
                    made.load_cert_chain(_checked(file), key, password="")  # nobody is asked
    except ssl.SSLError as error:
        raise RegistryError(
            f"{file}: no certificate that can be used: {error.reason or 'not in PEM form'}"
        ) from error
    except OSError as error:
        raise RegistryError(f"{error.filename or file}: cannot be read: {os_reason(error)}") from error
    return made


def _checked(file: str) -> str:
    """The path of a regular file that is no longer than such a file may be: OpenSSL waits for a FIFO, and reads a
    device for ever. Raises OSError."""
    found = os.stat(file)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", file)
    if found.st_size > _MAX_FILE:
        raise OSError(errno.EFBIG, f"longer than {_MAX_FILE} bytes", file)
    return file


def _folders(address: str, environ: Mapping[str, str]) -> Iterator[str]:
    home = environ.get("HOME") or os.path.expanduser("~")
    for base in (f"{home}/.config/containers", "/etc/containers", f"{home}/.config/docker", "/etc/docker"):
        for name in names_of(address):
            folder = f"{base}/certs.d/{name}"
            if os.path.isdir(folder):
                yield folder
