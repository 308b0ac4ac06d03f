"""What a store gives up: old segments, and the rows of the ledger that nobody needs any more.

Used by the writer thread, after a group. Must never touch an open segment, or how far a source is stored.
"""
