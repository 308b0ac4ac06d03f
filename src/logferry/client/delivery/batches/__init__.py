"""Where batches come from: read, rendered, and prefetched by a second thread."""
