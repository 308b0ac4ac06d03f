"""Makes segments, journals and ledger agree: at each start, and when a ledger is lost.

Runs before anything is stored. Must never delete bytes because the ledger or a journal lacks them.
"""
