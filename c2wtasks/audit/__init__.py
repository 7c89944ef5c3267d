"""Compares what is in the layer store and in the published bundles with what should be there, and mends it:
what `doit verify` does.

May import `cache`, `tasks` and what lies below.
Tests: tests/commands (test_verify).
"""
