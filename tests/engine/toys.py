"""A toy dodo.py: two images, one for two platforms, that share a layer. What it does is told by files.

- `blobs/<layer>` are the layers' blobs; one that holds "bad" is refused.
- `slow` as an environment variable: the time in seconds that a task `tree:` takes.
- `calls` records each action, one line each.
"""

from __future__ import annotations

from pathlib import Path

CONFIG = """
from types import SimpleNamespace
WORKERS = 0
HOOKS = SimpleNamespace(aliases=ALIASES, end_of_run=end_of_run, workers=WORKERS, recover=recover, proven=list,
                        late=(), arrive=None, families=(), widen=lambda needed: False,
                        before_work=lambda: None, warn_before=lambda tasks: (),
                        after_good_run=list, cleaned=lambda tasks: None, publish=lambda tasks: {},
                        size_of=lambda product: None,
                        totals=str, remember=lambda ran: (), looked_at=lambda: None)
DOIT_CONFIG = configure(HOOKS)
"""
"""The end of a dodo.py of the engine's: its hooks, most of which do nothing, with what it has itself."""

DODO = (
    """
import os, time
from types import SimpleNamespace
from c2wtasks.engine.config import configure
from c2wtasks.errors import LayerError

BUNDLES = {"web@linux/amd64": ["base", "web"], "web@linux/arm64": ["base", "arm"], "api@linux/amd64": ["base"]}


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as stream:
        stream.write(text)


def layer(name):
    with open("calls", "a") as calls:
        calls.write(f"layer:{name}\\n")
    with open(f"blobs/{name}") as stream:
        content = stream.read()
    if content == "bad":
        raise LayerError(f"layer {name} is \\x1b[31mbad", hint="pull it again")
    if content == "bug":
        raise AssertionError("this cannot be")
    write(f"out/{name}.idx", content)


def tree(bundle):
    time.sleep(float(os.environ.get("slow", 0)))
    texts = []
    for name in BUNDLES[bundle]:
        with open(f"out/{name}.idx") as stream:
            texts.append(stream.read())
    write(f"out/{bundle}.tree", "".join(texts))


def end_of_run(failed, current):
    with open("catalog", "w") as stream:
        stream.write("\\n".join(sorted(failed)))
    for bundle in BUNDLES:
        for culprit, why in failed.get(f"bundle:{bundle}", {}).items():
            yield f"{bundle}: {culprit}: {why}"


def bundle(bundle):
    write(f"out/{bundle}.json", bundle)


def task_layer():
    for name in sorted({name for names in BUNDLES.values() for name in names}):
        yield {"name": name, "actions": [(layer, [name])], "file_dep": [f"blobs/{name}"],
               "targets": [f"out/{name}.idx"]}


def task_tree():
    for name, layers in BUNDLES.items():
        yield {"name": name, "actions": [(tree, [name])], "file_dep": [f"out/{layer}.idx" for layer in layers],
               "targets": [f"out/{name}.tree"]}


def task_bundle():
    for name in BUNDLES:
        yield {"name": name, "actions": [(bundle, [name])], "file_dep": [f"out/{name}.tree"],
               "targets": [f"out/{name}.json"], "clean": True}


ALIASES = {}
for name in BUNDLES:
    task = f"bundle:{name}"
    image = name.partition("@")[0]
    ALIASES[image] = (*ALIASES.get(image, ()), task)
    ALIASES[name] = (task,)


def recover():
    with open("recovered", "a") as log:
        log.write("once\\n")
"""
    + CONFIG
)

HELD = """
_tree = tree
def tree(bundle):
    while os.path.exists("hold"):
        time.sleep(0.02)
    _tree(bundle)
"""
"""Added to it: trees wait as long as there is a file `hold`."""

LAYERS = ("base", "web", "arm")
ALL = {
    *(f"layer:{name}" for name in LAYERS),
    *(
        f"{family}:{name}"
        for family in ("tree", "bundle")
        for name in ("web@linux/amd64", "web@linux/arm64", "api@linux/amd64")
    ),
}


def make(folder: Path) -> Path:
    """The toy in `folder`, with a blob for each layer."""
    (folder / "blobs").mkdir(parents=True)
    (folder / "dodo.py").write_text(DODO)
    for name in LAYERS:
        (folder / "blobs" / name).write_text(name)
    return folder
