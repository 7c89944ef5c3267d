"""The families of tasks: what makes each stale, what it does, what proves it.

May import `changes`, `output` and what lies below.
Tests: tests/tasks, tests/graph.
"""
