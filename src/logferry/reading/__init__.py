"""Looking at what is stored: which logs there are, their lines in the order of time, and new lines as they come.

Read-only, beside a running server or without one. stored.py is the seam to a store and disk_logs.py the store on this
machine's disk; search.py merges logs by time. Never writes, never holds a transaction open while it reads files, and
keeps a bounded part of what it reads.
"""
