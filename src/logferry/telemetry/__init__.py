"""The metrics of both ends, and the ways to report them."""
