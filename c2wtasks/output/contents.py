"""All bundles as the page shows them, from catalog.json, the history and the bundles' own files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from c2wtasks.errors import one_line
from c2wtasks.output.chronicle import Chronicle
from c2wtasks.output.extract import Extracts
from c2wtasks.output.listing import Line
from c2wtasks.output.record import LayerFacts, Record
from c2wtasks.page import secrets
from c2wtasks.page.model import Bundle, Contents, File, Layer


def contents(lines: Iterable[Line], chronicle: Chronicle, extracts: Extracts) -> Contents:
    """What there is to show of the bundles that catalog.json lists."""
    tables = _Tables()
    bundles = tuple(_bundle(line, chronicle, extracts, tables) for line in lines)
    return Contents(
        bundles=bundles,
        layers=tuple(
            Layer(id=facts.diff_id, digest=facts.digest or "", size=facts.tar_size, users=users)
            for facts, users in zip(tables.facts, tables.users, strict=True)
        ),
        settings=tuple(tables.settings),
        mounts=extracts.mounts,
        packages=extracts.packages,
        groups=extracts.groups,
    )


class _Given(NamedTuple):
    settings: int
    forms: tuple[str, ...]
    overrides: tuple[str, ...]


class _Tables:
    """What many bundles have alike, with the number of each."""

    def __init__(self) -> None:
        self.settings: dict[tuple[str, ...], int] = {}
        self.facts: list[LayerFacts] = []
        self.users: list[int] = []
        self._layers: dict[str, int] = {}
        self._options: dict[bytes, _Given] = {}

    def layers(self, made: Record) -> tuple[int, ...]:
        """The numbers of a bundle's layers, each of which then has one more user."""
        found = tuple(self._layer(facts) for facts in made.layers)
        for number in set(found):
            self.users[number] += 1
        return found

    def given(self, options: Mapping[str, Any]) -> _Given:
        """What bundle.yaml has settled for a bundle."""
        key = msgspec.json.encode(options)
        if key not in self._options:
            settings = self.settings.setdefault(tuple(_settings(options)), len(self.settings))
            forms, overrides = options.get("rootfs") or (), options.get("process") or {}
            self._options[key] = _Given(settings, tuple(map(_form, forms)), tuple(_overrides(overrides)))
        return self._options[key]

    def _layer(self, facts: LayerFacts) -> int:
        number = self._layers.setdefault(facts.diff_id, len(self.facts))
        if number == len(self.facts):
            self.facts.append(facts)
            self.users.append(0)
        return number


def _bundle(line: Line, chronicle: Chronicle, extracts: Extracts, tables: _Tables) -> Bundle:
    past = chronicle.of(f"{line.name}@{line.platform}", failed=line.status == "failed")
    made = line.bundle
    listed = Bundle(
        name=line.name,
        platform=line.platform,
        path=line.path,
        state=line.status,
        error=secrets.told(line.error) if line.error else "",
        since=past.since,
        history=past.events,
    )
    if made is None:
        return listed
    packages, given = extracts.report(line.path, made), tables.given(made.options)
    return replace(
        listed,
        source=secrets.told(made.source),
        digest=one_line(made.manifest_digest or made.config_digest),
        config_digest=one_line(made.config_digest),
        size=made.size,
        entries=made.rootfs.entries if made.rootfs else 0,
        trend=past.trend,
        layers=tables.layers(made),
        forms=given.forms,
        files=tuple(File(one_line(path), one.size, one_line(one.sha256)) for path, one in made.outputs.items()),
        settings=given.settings,
        overrides=given.overrides,
        config=extracts.config(line.path, made),
        packages=packages,
        count=extracts.count(packages) if packages is not None else 0,
        notes=tuple(map(secrets.told, made.notes)),
    )


def _form(form: Any) -> str:
    """`dir`, `tar-zstd`: a form with those of its options that are words."""
    if not isinstance(form, Mapping):
        return one_line(str(form), 100)
    return one_line("-".join(str(value) for value in form.values() if isinstance(value, str)), 100)


def _settings(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if name == "process":
            continue
        if isinstance(value, Mapping):
            yield from (secrets.without(f"{name}.{inner}: {_yaml(given)}") for inner, given in value.items())
        elif name != "rootfs":
            yield secrets.without(f"{name}: {_yaml(value)}")


def _overrides(process: Mapping[str, Any]) -> Iterator[str]:
    """What bundle.yaml has otherwise than the image: of variables only the names."""
    for name, value in process.items():
        if name == "env":
            yield from (one_line(f"env.{variable}", 200) for variable in value or ())
        elif name == "terminal":
            if value is False:
                yield "terminal: false"
        elif value is not None:
            yield secrets.without(f"{name}: {' '.join(map(str, value)) if isinstance(value, list) else value}")


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
