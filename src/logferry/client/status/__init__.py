"""What the client reports about itself, and how `logferry status` interprets it."""
