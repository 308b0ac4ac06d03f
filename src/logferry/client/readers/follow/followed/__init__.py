"""The files that are followed: by identity, by source and by name, open or held until their last byte is acked.

Owns which files there are, and what they are to each other. Never decides what is read next.
"""
