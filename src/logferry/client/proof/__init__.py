"""Proving that a file is stored, and what may follow from that proof."""
