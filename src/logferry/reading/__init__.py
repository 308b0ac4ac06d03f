"""Looking at what is stored: which logs there are, their lines in the order of time, and new lines as they come.

Read-only, beside a running server or without one. stored.py is the seam to a store, and `disk` the store on this
machine's disk; `query` finds lines, `counting` counts them, `times` knows when they happened, and `story` what became
of one. Never writes, never holds a transaction open while it reads files, and keeps a bounded part of what it reads.
"""
