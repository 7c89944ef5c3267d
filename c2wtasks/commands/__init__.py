"""The commands of `doit`, a module each; doit's own commands, too, which here take the names of images and bundles.

May import `audit`, `graph` and what lies below.
Tests: tests/commands, tests/graph (test_commands).
"""
