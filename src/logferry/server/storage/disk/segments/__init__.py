"""The segments that are written: which one is open, what a group appends to it, and when it is synced.

Owns the open files and what waits for them. Never reads back what is stored, and never deletes it.
"""
