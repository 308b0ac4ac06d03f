"""From socket to disk: connections (server.py, peer.py) and what is kept (store.py, segments.py)."""

from logferry.server.server import Patience, Server, ServerStats, serve

__all__ = ["Patience", "Server", "ServerStats", "serve"]
