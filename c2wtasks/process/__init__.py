"""Processes: forked ones that never outlive us, how many CPUs there are, our rights, what this one was asked for, and
errors that nobody expected.

May import `disk`, `oci`, `telling` and what lies below.
Tests: tests/process, tests (test_errors), tests/graph (test_guard).
"""
