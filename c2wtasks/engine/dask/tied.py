"""A run that ends with the worker that began it: `python -m c2wtasks.engine.dask.tied PID WORD...`, where PID is the
worker's. A worker has many threads, so nothing of ours may run between its fork and this."""

from __future__ import annotations

import runpy
import signal
import sys

from c2wtasks.process.forking import die_with

if __name__ == "__main__":
    die_with(int(sys.argv.pop(1)), signal.SIGTERM)
    runpy.run_module("c2wtasks", run_name="__main__", alter_sys=True)
