"""The tables of the ledger, one module each. They are written by the writer thread, in its transactions."""
