"""How long the property tests look: HYPOTHESIS_PROFILE=long for a night, else as long as one waits."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_ALL = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("short", max_examples=100, **_ALL)
settings.register_profile("long", max_examples=10_000, **_ALL)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
