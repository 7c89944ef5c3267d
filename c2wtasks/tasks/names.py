"""The names of doit's tasks: `family:what`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from c2wtasks.bundlefile.model import Bundle

PART_FAMILIES = ("layer", "tree", "rootfs", "spec", "boot")
"""The families of tasks that make what bundles are made of."""

FAMILIES = (*PART_FAMILIES, "bundle", "catalog")
"""All families of a graph's own tasks; `catalog` is a task by itself."""


def layer(key: str) -> str:
    """The task that reads the blob with this key (see `Layer.key`)."""
    return f"layer:{key}"


def tree(bundle: Bundle) -> str:
    """The task that makes the tree of a bundle."""
    return f"tree:{bundle}"


def rootfs(bundle: Bundle, form: str) -> str:
    """The task that makes the form of this name."""
    return f"rootfs:{bundle}:{form}"


def bundle(one: Bundle) -> str:
    """The task that publishes a bundle."""
    return f"bundle:{one}"


def aliases(bundles: Iterable[Bundle]) -> dict[str, tuple[str, ...]]:
    """`web` and `web@linux/amd64`, for the tasks that publish these bundles."""
    found: dict[str, tuple[str, ...]] = {}
    for one in bundles:
        task = bundle(one)
        found[str(one)] = (task,)
        found[one.name] = (*found.get(one.name, ()), task)
    return found


def parts(one: Bundle) -> Iterator[str]:
    """All tasks of a bundle but those of its layers."""
    yield from (f"{family}:{one}" for family in ("tree", "spec", "boot", "bundle"))
    yield from (rootfs(one, form.name) for form in one.forms)


def family(task: str) -> str:
    """The family of a task, from its name."""
    return task.partition(":")[0]
