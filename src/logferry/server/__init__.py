"""From socket to disk.

server.py listens and carries deliveries between connections (clients/) and the store (storage/). Connections speak one
of two protocols (clients/sessions/); the store decides what is kept, keeps it, and reports what is safe.
"""

from logferry.server.server import Patience, Server, ServerStats, serve

__all__ = ["Patience", "Server", "ServerStats", "serve"]
