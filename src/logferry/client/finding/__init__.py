"""Finds log files: patterns, folder listings, change notifications, mounts."""
