"""How long the property tests look: HYPOTHESIS_PROFILE=long for a night, else as long as one waits. And signals."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

_ALL = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("short", max_examples=100, **_ALL)
settings.register_profile("long", max_examples=10_000, **_ALL)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

# What a script starts in the background ignores Ctrl-C, and with nohup SIGHUP; so would all that the tests start, and
# interrupt.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)
