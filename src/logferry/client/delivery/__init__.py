"""From chunk to ack: batches, the window, retries, and the outputs that carry them."""
