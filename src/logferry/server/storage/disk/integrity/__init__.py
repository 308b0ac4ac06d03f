"""Whether what is stored is what the ledger records: fsck, scrub, reports, known damage and its repair.

Owns what counts as damage. Only a repair writes to a segment, and only bytes that the ledger vouches for.
"""
