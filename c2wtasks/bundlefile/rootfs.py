"""What `rootfs:` may hold: a list of forms, each a word, or a mapping with `form` and the options of that form."""

from __future__ import annotations

from c2wtasks.bundlefile.entries import entries
from c2wtasks.bundlefile.forms import FORMS, FormType
from c2wtasks.bundlefile.model import Form
from c2wtasks.bundlefile.nodes import Mapping, Node, Scalar, Sequence
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.values import Kind, list_of, repeated, string
from c2wtasks.bundlefile.wording import did_you_mean, shown


def form(report: Problems, node: Node, path: str) -> Form | None:
    """Reads an element of `rootfs:`; None where it is wrong, which is reported."""
    if not isinstance(node, Mapping):
        kind = _kind(report, node, path)
        return None if kind is None else Form(kind)
    given = {key.text: (key, value) for key, value in entries(report, node, path)}
    if "form" not in given:
        report.add(node, path, "'form' is missing", "write e.g. {form: iso, tree: vm}")
        return None
    kind = _kind(report, given.pop("form")[1], f"{path}.form")
    if kind is None:
        return None
    return _with_options(report, node, path, FORMS[kind], given)


def _with_options(
    report: Problems, node: Node, path: str, row: FormType, given: dict[str, tuple[Scalar, Node]]
) -> Form:
    known = row.options
    options = {}
    for name, (key, value) in sorted(given.items()):
        if name not in known:
            hint = did_you_mean(name, known) or (f"known: {', '.join(known)}" if known else "it has none")
            report.add(key, f"{path}.{name}", f"form '{row.kind}' has no such option", hint)
            continue
        parse = known[name].parse
        assert parse is not None
        option = parse(report, value, f"{path}.{name}")
        if option is not None:
            options[name] = option
    if len(options) == len(given) and (misfit := row.check(options)):
        report.add(given[misfit.option][1], f"{path}.{misfit.option}", misfit.wrong, misfit.hint)
    kept = ((name, value) for name, value in options.items() if value != row.defaults.get(name))
    return Form(row.kind, tuple(kept))


def _kind(report: Problems, node: Node, path: str) -> str | None:
    text = string(report, node, path, "the name of a form")
    if text is not None and text not in FORMS:
        report.add(
            node, path, f"unknown form {shown(text)}", did_you_mean(text, FORMS) or f"known: {', '.join(FORMS)}"
        )
        return None
    return text


def _forms(report: Problems, node: Node, path: str) -> tuple[Form, ...] | None:
    if isinstance(node, Mapping):
        report.add(node, path, f"expected {_LIST.expects}, found a mapping", "put brackets around it: [{form: ...}]")
        return None
    assert _LIST.parse is not None
    found: tuple[Form, ...] | None = _LIST.parse(report, node, path)
    if found is None or not isinstance(node, Sequence) or len(found) != len(node.items):
        return found
    kept: dict[str, Form] = {}
    for index, (one, item) in enumerate(zip(found, node.items, strict=True)):
        if one.name in kept:
            where = f"{path}[{index}]"
            if isinstance(item, Scalar):
                repeated(report, item, where, one.name)
            else:
                report.add(item, where, f"form '{one.name}' is given twice")
        kept.setdefault(one.name, one)
    folders = [one.kind for one in kept.values() if one.type.folder]
    if len(folders) > 1:
        report.add(node, path, f"{' and '.join(folders)} are the same folder of files", "name one of them")
    return tuple(kept.values())


_LIST = list_of(form, "a list of forms", "[dir]")
ROOTFS = Kind(_LIST.expects, _forms)
