"""From delivery to disk."""
