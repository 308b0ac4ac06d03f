"""The journals of segments: what the ledger has about a segment, in files beside it.

Owns their layout, reads them as one, adds what each group records, and completes them at the start. A journal is never
needed to store a line: one that cannot be written keeps nobody waiting.
"""
