"""Proving that files are stored, and retiring files after that proof."""
