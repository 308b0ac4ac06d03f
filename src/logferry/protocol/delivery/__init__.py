"""Both sides of the delivery extension: bytes in, messages out; and the strict readers of their lines."""
