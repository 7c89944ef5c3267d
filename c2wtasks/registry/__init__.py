"""The pull side of a registry: hosts, TLS, credentials and tokens, one request, trying again, a blob as a stream.

May import `cachedir`, `process` and what lies below.
Tests: tests/registry.
"""
