"""What was acked, per source, on disk."""
