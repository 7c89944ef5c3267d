"""The root that layers make, in memory: layers applied as containerd applies them, look-ups as inside a root, the
flat tree file. Pure.

May import `layers`, `remote` and what lies below.
Tests: tests/tree.
"""
