"""What the client reports about itself, and what `logferry status` makes of it."""
