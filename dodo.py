"""The graph of a catalog: bundle.yaml beside this file -> bundles/. It works unchanged beside any bundle.yaml."""

from c2wtasks.engine.config import configure
from c2wtasks.graph import Graph

graph = Graph.load("bundle.yaml")
DOIT_CONFIG = configure(graph)


def task_layer():
    """reads, checks and stores each layer once"""
    yield from graph.layer_tasks()


def task_tree():
    """applies the layers of each bundle, in memory"""
    yield from graph.tree_tasks()


def task_rootfs():
    """writes the forms of each root"""
    yield from graph.rootfs_tasks()


def task_spec():
    """writes image.json and spec.json"""
    yield from graph.spec_tasks()


def task_boot():
    """writes initconfig.json"""
    yield from graph.boot_tasks()


def task_bundle():
    """publishes each bundle, whole"""
    yield from graph.bundle_tasks()


def task_catalog():
    """lists all bundles in catalog.json"""
    return graph.catalog_task()
