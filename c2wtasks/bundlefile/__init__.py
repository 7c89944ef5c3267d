"""bundle.yaml and bundle.lock: read with the position of every value, checked against one table of settings, expanded
to bundles.

May import `cachedir`, `process` and what lies below.
Tests: tests/bundlefile.
"""
