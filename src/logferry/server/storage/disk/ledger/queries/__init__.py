"""Queries over several tables: what those who look at stored lines ask the ledger, and the history of a file."""
