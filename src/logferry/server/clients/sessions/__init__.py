"""What a client and the server say to each other, per protocol."""
