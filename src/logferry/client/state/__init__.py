"""Checkpoints: how far each source is acked, on disk."""
