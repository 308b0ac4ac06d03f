"""The store on this machine's disk: its logs, their segments, and what its ledger says, beside a server or without one.

Reads, and never writes; keeps no server from anything.
"""
