"""What people are told while a run goes on: how far it is, notices, sizes as they read them.

May import `errors`.
Tests: tests/telling.
"""
