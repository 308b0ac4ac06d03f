"""The delivery engine: what it submits and in which order, what it waits for, and what a server refuses."""
