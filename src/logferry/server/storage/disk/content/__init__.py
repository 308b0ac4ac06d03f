"""What segments hold, whatever their files look like: plain, or compressed in members.

Owns how compressed segments are written and read. No other package opens the file of a segment to read it.
"""
