"""Which files there are: patterns, listings, notifications, mounts."""
