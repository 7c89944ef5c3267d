"""What packages a root holds, by the databases of package managers in it: a module for each format, from bytes to
packages, and what holds them against a tree.

May import `tree` and what lies below.
Tests: tests/packages.
"""
