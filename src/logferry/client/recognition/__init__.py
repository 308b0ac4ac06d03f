"""Recognises files that were shipped before."""
