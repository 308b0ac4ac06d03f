"""Following files through rotation, truncation and copies."""
