"""The writer: who is next, what makes a group, and how a group comes to the disk before its acks.

Owns the queue and the thread. Never decides what is admitted (admission.py).
"""
