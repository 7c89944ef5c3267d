"""Processes: forked ones that never outlive us, how many CPUs there are, and errors that nobody expected.

May import `disk`, `notices`, `oci` and what lies below.
Tests: tests/process, tests (test_errors), tests/graph (test_guard).
"""
