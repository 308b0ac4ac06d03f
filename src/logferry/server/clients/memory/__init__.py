"""What clients cost the server in memory, counted by party: backpressure, and who must go when memory is short."""
