"""What `bundle.yaml` expands into: bundles, each an image for one platform with all its options settled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from c2wtasks.bundlefile.boot import Boot
from c2wtasks.bundlefile.engine import Engine
from c2wtasks.bundlefile.forms import FORMS, FormType, Value
from c2wtasks.bundlefile.position import Position
from c2wtasks.bundlefile.remote import RemoteCache
from c2wtasks.oci.host import Host
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference

_NO_ENGINE = Engine()


@dataclass(frozen=True, slots=True)
class Process:
    """What overrides the image config. None means: as the image says.

    `env` holds (name, value) pairs; a value of None removes the variable.
    """

    args: tuple[str, ...] | None = None
    env: tuple[tuple[str, str | None], ...] = ()
    cwd: str | None = None
    user: str | None = None
    terminal: bool = True


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the root. `options` are (name, value), sorted, without those that have their default."""

    kind: str
    options: tuple[tuple[str, Value], ...] = ()

    @property
    def type(self) -> FormType:
        """What is true of all forms of this kind."""
        return FORMS[self.kind]

    def option(self, name: str) -> Value | None:
        """The value of an option; None where it is not given, or has its default."""
        return dict(self.options).get(name)

    @property
    def name(self) -> str:
        """What tells the forms of a bundle apart, and their files: `iso`, `iso-vm`, `tar-zstd`."""
        told_apart = self.option(self.type.tells_apart)
        return f"{self.kind}-{told_apart}" if told_apart else self.kind


@dataclass(frozen=True, slots=True)
class Bundle:
    """One image for one platform.

    `profile` is one of PROFILES. `preset` is the one that `boot` names, "" where it names none.
    `path` is the source's file or folder, relative to the folder of the main bundle.yaml (or absolute); of a
    registry's image, its repository.
    `forms` are the forms of the root to write, in the order given, no two of a name and at most one of them a
    folder; none where a bundle has no root. `share`: the files of the folder may be those of other roots, too.
    `sbom` are formats of SBOMS, in the order of that table.
    """

    name: str
    platform: Platform
    source: Reference
    path: str
    profile: str
    forms: tuple[Form, ...]
    boot: Boot
    preset: str
    process: Process
    same_owner: bool
    position: Position
    share: bool = False
    sbom: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}@{self.platform}"

    @property
    def folder_form(self) -> Form | None:
        """The form that is a folder of real files, if the bundle has one."""
        return _parted(self.forms)[0]

    @property
    def file_forms(self) -> tuple[Form, ...]:
        """The other forms, each of which is a file or a few."""
        return _parted(self.forms)[1]


@cache  # many bundles have the same
def _parted(forms: tuple[Form, ...]) -> tuple[Form | None, tuple[Form, ...]]:
    """The one that is a folder, and the others."""
    folder = next((form for form in forms if form.type.folder), None)
    return folder, tuple(form for form in forms if not form.type.folder)


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A whole `bundle.yaml`, included files and all.

    `bundles` are sorted by name and platform. `output` and `cache` are folders, relative to that of the main
    bundle.yaml or absolute. `cache_max_size` and `max_layer_size` are in bytes, None where they are not set;
    `workers` and `keep_runs` are 0 where they are not set. `files` are all files that were read, the main one first,
    each by a path that opens it from where the main one's path does; `includes` the patterns that matched them, each
    with the folder in which it is meant. `registries` are (host, what is said of it). `lock_all`: local sources are
    locked, too. `cache_shared`: all who can write in the cache are believed. `name` is what the catalog is called, ""
    where it is not. `engine`: who else may build it. `remote_cache` is the one that it shares with other machines.
    """

    bundles: tuple[Bundle, ...]
    output: str
    cache: str
    cache_max_size: int | None
    max_layer_size: int | None
    workers: int
    keep_runs: int
    files: tuple[str, ...]
    includes: tuple[tuple[str, str], ...]
    registries: tuple[tuple[str, Host], ...]
    keep_blobs: bool
    lock_all: bool
    strict: bool
    cache_shared: bool
    name: str = ""
    engine: Engine = _NO_ENGINE
    remote_cache: RemoteCache | None = None
