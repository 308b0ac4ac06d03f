"""TLS below a connection: the engine turns bytes into bytes, the layer is a connection's transport."""
