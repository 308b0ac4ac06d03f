"""The first bytes of a connection: a proxy's header, and which protocol the client speaks."""
