"""Connected clients: their bytes, their flow control, their sessions."""
