"""Proving that files are stored, repairing what is not, and retiring files after that proof."""
