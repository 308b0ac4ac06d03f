"""What a caller waits for, and the system's way to wait: descriptors, time, and other threads."""
