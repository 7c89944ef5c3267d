"""What a task tells the engine of itself, in doit's `meta`: `"meta": Meta(blob_bytes=...)`."""

from __future__ import annotations

from typing import Any, TypedDict


class Meta(TypedDict, total=False):
    """What a task may say of itself; all of it may be left out."""

    blob_bytes: int
    """How many bytes of blobs the task's actions have to do with. A task that says so is heavy: its actions may run
    in another process."""

    brief: bool
    """Whether the actions take some milliseconds, and wait for nothing but the disk: then they run where tasks are
    handed out."""

    light: bool
    """Of a heavy task: whether it moves few bytes, whatever it has to do with."""

    waiting_bytes: int
    """Of a heavy task: the `blob_bytes` of the largest that waits for it, if that is not itself."""

    product: str
    """What the run makes, to a user, when the task is done: that is shown then. "" for a task that makes a part of
    such a product, of which nothing is shown. A task that says nothing is shown under its own name."""

    published_later: bool
    """Whether the task only makes ready what is then published together with others' (`Hooks.publish`)."""


def meta_of(task: Any) -> Meta:
    """The Meta of a doit task; empty where it has none."""
    meta: Meta | None = task.meta
    return meta or {}


def is_heavy(task: Any) -> bool:
    """Whether the actions of a doit task may run in another process."""
    return meta_of(task).get("blob_bytes") is not None


def is_brief(task: Any) -> bool:
    """Whether the actions of a doit task are to run where tasks are handed out."""
    return meta_of(task).get("brief", False)


def blob_bytes(task: Any) -> int:
    """How many bytes of blobs a doit task has to do with; 0 where it is not heavy."""
    return meta_of(task).get("blob_bytes") or 0


def work_bytes(task: Any) -> int:
    """How many bytes of blobs a doit task is to be counted with, where a run tells how far it is."""
    return 0 if meta_of(task).get("light") else blob_bytes(task)


def urgency(task: Any) -> int:
    """How urgent a doit task is, in bytes of blobs: of those that are ready, the most urgent goes first."""
    return meta_of(task).get("waiting_bytes") or blob_bytes(task)
