"""Compresses closed segments in the background, and makes them plain again for a repair.

Must never delete the only whole copy of a line: before a file goes, the other one was read and compared with the
ledger.
"""
