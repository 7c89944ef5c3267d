"""How any graph of tasks is run on doit: what is stale, the record of what was done, threads and worker processes,
failures, interrupts, output. It knows nothing of images.

May import `cachedir`, `process` and what lies below.
Tests: tests/engine.
"""
