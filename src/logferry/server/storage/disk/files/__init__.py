"""The files of a data folder: how they are named, opened, measured, cut and locked.

Owns that nothing but a file is opened there, and that every call can be made to fail in tests. Knows names and bytes,
never what the ledger or a journal records about them.
"""
