"""The forms of a root, a module or package each, and their table. Each begins with what it cannot hold.

May import `tree` and what lies below.
Tests: tests/rootfs, tests/forms, tests/graph (test_forms).
"""
