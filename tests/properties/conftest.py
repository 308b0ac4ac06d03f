"""How long and how hard hypothesis tries; a busy machine is no reason to fail."""

from hypothesis import HealthCheck, settings

settings.register_profile("logferry", deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("logferry")
