"""Which lines somebody wants, and the lines: selected, matched, merged by time, followed, with the lines around them.

Reads chunks through the seam alone, of whatever store.
"""
